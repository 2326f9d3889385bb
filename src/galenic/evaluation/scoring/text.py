"""Scoring by the log-likelihood of the option's text, in total or per byte.

Sums favour short options and per-byte scores long ones; comparing both shows the effect of length.
Unlike per-token scores, per-byte scores do not depend on the tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping

from galenic.data.example import Example
from galenic.evaluation.scoring.base import Scoring

__all__ = ["Text", "TextPerByte"]


class Text(Scoring):
    """The log-likelihood of the option's text, summed over its tokens."""

    name = "text"

    def continuation(self, example: Example, label: str) -> str:
        return f" {example.options[label]}"


class TextPerByte(Text):
    """The log-likelihood of the option's text divided by its length in UTF-8 bytes."""

    name = "text_per_byte"

    def weigh(self, example: Example, loglikelihoods: Mapping[str, float]) -> dict[str, float]:
        return {
            label: value / max(1, len(example.options[label].encode()))
            for label, value in loglikelihoods.items()
        }
