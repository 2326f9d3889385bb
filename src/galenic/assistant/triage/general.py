"""Detect messages in which nobody is said to be ill now, although a rule or a layer is alarmed.

Phrase lists cannot cover every way to ask, to tell a story or to speak of things, so a second
classifier is consulted, which was trained on more harmless texts than the first and sees each text
twice: as it is, and with its symptoms hidden, so that only the way of saying is left. Findings that
both readings doubt are suspended, and the person is asked whether this is happening now; the
answers "yes" and "not sure" restore them. For error rates and known limits see LOG.md, 30 November
2026.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from galenic.assistant.triage.framing import asks_of_somebody
from galenic.assistant.triage.reading import Reading

__all__ = ["GRAVE", "LEARNED", "RULES", "reads_harmless", "without_idle_questions"]

RULES, LEARNED, GRAVE = -1.6, -0.75, -1.95
"""Log-odds of urgency under which an alarm is doubted: one of concept rules alone, one of the
classifier (which then still means today), and one of self-harm or an overdose. For what is under
them of texts held out from training see ``tools/train_second.py``."""
ALONE = 0.0
"""Upper limit for each sentence by itself, so that harmless ones do not dilute an emergency."""
MOST_WORDS = 120
"""Longer messages, in tokens, usually describe a case and are never doubted."""

MOST_QUESTIONS, FEWEST_WORDS = 20, 4
"""Limits for a question that is left out: of a message, so many different ones at most are judged,
and one of fewer words belongs to what is said before it ("How come?")."""
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_POINTS_BACK = re.compile(
    r"\b(?:that|this|these|those|it|its|he|she|him|her|his|they|them|their|so|one)\b", re.IGNORECASE
)


def reads_harmless(reading: Reading, limit: float) -> bool:
    """Check whether a message, and each of its sentences, reads as if nobody were ill now.

    "The stroke weight in the logo is too thin" can; "is my stroke coming back?" cannot.

    Args:
        reading: What was extracted from the message.
        limit: Log-odds of urgency under which the whole must be: `RULES`, `LEARNED` or `GRAVE`.
    """
    read = reading.sentences
    if len(reading.masked) != len(read) or sum(len(one.tokens) for one in read) > MOST_WORDS:
        return False
    if reading.denied or asks_of_somebody(read):  # "no fever": somebody tells how they are
        return False
    from galenic.assistant.triage.raising.classifier import urgent_odds  # imports numpy

    plain = [one.written or " ".join(one.shown) for one in read]
    if urgent_odds(" ".join(plain), " ".join(reading.masked)) >= limit:
        return False
    return len(plain) == 1 or all(
        urgent_odds(*one) < ALONE for one in zip(plain, reading.masked, strict=True)
    )


def without_idle_questions(text: str, is_idle: Callable[[str], bool]) -> str | None:
    """Return a message without the general questions around what it tells, or None if it has none.

    "My tongue is swelling up. Can people take vitamin D with food?" becomes its first sentence, for
    a question must not lower the urgency of the rest. Questions that point back ("Is that
    hereditary?") stay: they may show that nobody is ill now.

    Args:
        text: The message.
        is_idle: Checks whether a question by itself is about nobody's urgent trouble.
    """
    parts = [part.strip() for part in _SENTENCE.split(text) if part.strip()]
    asked = [part for part in dict.fromkeys(parts) if _stands_alone(part)][:MOST_QUESTIONS]
    if not asked or len(asked) == len(parts):
        return None
    idle = {question for question in asked if is_idle(question)}
    kept = [part for part in parts if part not in idle]
    return "\n".join(kept) if idle and kept else None


def _stands_alone(part: str) -> bool:
    """Check whether a sentence is a question that can be understood without the others."""
    asks = part.endswith(("?", "？"))
    return asks and len(part.split()) >= FEWEST_WORDS and not _POINTS_BACK.search(part)
