"""Read the score that an encoder's multiple-choice head gives each option."""

from __future__ import annotations

from galenic.data.example import Example
from galenic.evaluation.scoring.base import Scoring

__all__ = ["Head"]


class Head(Scoring):
    """The head's score of the pair (context and question, option).

    Options are not shown together, so they have no order, and no letter is read. As trained by
    Devlin et al. 2019 (https://arxiv.org/abs/1810.04805), section 4.4.
    """

    name = "head"
    paired = True

    def continuation(self, example: Example, label: str) -> str:
        return example.options[label]
