"""Score the option's text, summed over its tokens or per byte.

Sums prefer short options and per-byte scores prefer long ones; showing both shows how much of a
result is length. Per byte, unlike per token, does not depend on the tokenizer.
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
