"""How `benchmarks/answers.py` grades: stated rules over loosely matched words, no judgement.

Each question of ``questions.jsonl`` says what a good answer says (``good_answer_says``) and words
that show a misleading one (``bad``). A phrase is *said* when one shown sentence has two thirds of
its words that count, endings aside (a word of five letters or more also by its first five). An
answer is

- *useful* when it says two of the good phrases (one, where only one or two are listed) and is not
  misleading;
- *misleading* when a sentence says all words of a bad phrase without a word of denial;
- *off topic* when it says none of the good phrases and no cited title shares a word with ``about``.

The rule is blind to paraphrase ("feeling sick" is not "nausea"), so it undercounts; a reader's
grades of 60 questions stand beside it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["half", "misleading", "off_topic", "said", "useful"]

_STOP = frozenset(
    re.findall(
        r"\w+",
        """
a about all also always an and any are as at be been by can do does for from get has have if in
is it its may more most no not of on or other should some so such than that the their them then
there they this to too usually very was when which who will with you your
""",
    )
)
_DENIALS = re.compile(
    r"\b(?:not|no|never|without|avoid|cannot|can't|don't|doesn't|isn't|rarely|unless|nor|neither|"
    r"instead|rather|ask)\b",
    re.I,
)


def half(identifier: str) -> str:
    """``a`` may be read and tuned on; ``b`` is only scored."""
    return "ab"[int(hashlib.sha256(identifier.encode()).hexdigest(), 16) % 2]


def useful(row: dict[str, Any], shown: Sequence[str]) -> bool:
    good: list[str] = row["good_answer_says"]
    return said(good, shown) >= min(2, math.ceil(len(good) / 2)) and not misleading(row, shown)


def misleading(row: dict[str, Any], shown: Sequence[str]) -> bool:
    return any(
        _has(sentence, phrase, 1.0) and not _DENIALS.search(sentence)
        for sentence in shown
        for phrase in row["bad"]
    )


def off_topic(row: dict[str, Any], shown: Sequence[str], titles: Iterable[str]) -> bool:
    about = _tokens(row["about"])
    shares = any(_alike(one, other) for t in titles for one in _tokens(t) for other in about)
    return not shares and not said(row["good_answer_says"], shown)


def said(phrases: Sequence[str], shown: Sequence[str]) -> int:
    """How many of the phrases a sentence says."""
    return sum(any(_has(sentence, phrase, 2 / 3) for sentence in shown) for phrase in phrases)


def _has(sentence: str, phrase: str, share: float) -> bool:
    wanted, words = _tokens(phrase), _tokens(sentence)
    found = sum(any(_alike(one, word) for word in words) for one in wanted)
    return bool(wanted) and found >= share * len(wanted) - 1e-9


def _tokens(text: str) -> list[str]:
    plain = re.findall(r"[a-z0-9]+", text.lower().replace("'", ""))
    return [word for word in plain if word not in _STOP]


def _alike(one: str, other: str) -> bool:
    if one == other or one.rstrip("s") == other.rstrip("s"):
        return True
    if min(len(one), len(other)) >= 5 and one[:5] == other[:5]:
        return True
    short, long = sorted((one, other), key=len)
    return len(short) >= 3 and long in {f"{short}{end}" for end in ("ing", "ed", "es", "d", "ly")}
