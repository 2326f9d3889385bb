"""Scoring by the option's letter, or by the answer word if no letters are shown."""

from __future__ import annotations

from galenic.data.example import Example
from galenic.evaluation.scoring.base import Scoring

__all__ = ["Letter"]


class Letter(Scoring):
    """The label's log-likelihood: `` A``, `` B`` ... or `` yes``, `` no``, `` maybe``."""

    name = "letter"

    def continuation(self, example: Example, label: str) -> str:
        return f" {label}"
