"""Let the model reason in free text, then find its answer; what cannot be found stays unparsed."""

from __future__ import annotations

import re
from collections.abc import Iterable

from galenic.data.example import Example
from galenic.evaluation.scoring.base import Scoring

__all__ = ["Generate", "parse_answer"]


class Generate(Scoring):
    """Chain of thought (Wei et al. 2022, https://arxiv.org/abs/2201.11903), then parse."""

    name = "generate"
    generates = True

    def continuation(self, example: Example, label: str) -> str:
        return f" {label}"

    @staticmethod
    def instruct(prompt: str, answer_prefix: str, labels: Iterable[str]) -> str:
        """Turn a prompt that ends with the answer prefix into one that asks for reasoning."""
        listed = ", ".join(labels)
        body = prompt.removesuffix(answer_prefix).rstrip("\n")
        return (
            f"{body}\nThink step by step, then end with one line "
            f'"{answer_prefix} X" where X is one of {listed}.\nReasoning:'
        )


def parse_answer(text: str, labels: Iterable[str]) -> str | None:
    """The label a generated text settles on, or None.

    Looks, in this order, for the last "Answer: X" or "answer is X", for a text that is nothing but
    a label, and for one that begins with "X." or "X," and has no line with another label. A letter
    inside a sentence is not an answer, and two different labels after one marker ("A or B") are
    none either. Letter labels count in capitals only, words in any case.

    Args:
        text: what the model wrote.
        labels: the labels it could have named.
    """
    known = list(labels)
    one = "|".join(re.escape(label) for label in sorted(known, key=len, reverse=True))
    flags = 0 if all(label.isupper() for label in known) else re.IGNORECASE
    named = rf"[\s:*_(\[\"']*(?P<label>{one})(?![\w-])"
    rival = re.compile(rf"^[\s)*_\].\"']*(?:or|and|/|,)[\s(*_\"']*(?:{one})(?![\w-])", flags)
    found = list(re.finditer(rf"(?i:answer)(?:\s+(?i:is))?[\s:*_]*{named}", text, flags))
    alone = re.fullmatch(rf"{named}[\s)*_\].\"']*", text, flags)
    first = re.match(rf"{named}[.):,*\]]", text, flags)
    listed = {line.group(1) for line in re.finditer(rf"^\W*({one})[.):]", text, flags | re.M)}
    opening = first if first and len(listed) <= 1 else None
    match = found[-1] if found else alone or opening
    if match is None or rival.match(text[match.end() :]):
        return None
    label = match.group("label")
    return next(k for k in known if k == label or (flags and k.lower() == label.lower()))
