"""Scoring by an encoder's multiple-choice head."""

from __future__ import annotations

from galenic.data.example import Example
from galenic.evaluation.scoring.base import Scoring

__all__ = ["Head"]


class Head(Scoring):
    """The head's score of the pair (context and question, option).

    Each option is scored separately, so options have no order and no letters. Devlin et al. 2019
    (https://arxiv.org/abs/1810.04805), section 4.4.
    """

    name = "head"
    paired = True

    def continuation(self, example: Example, label: str) -> str:
        return example.options[label]
