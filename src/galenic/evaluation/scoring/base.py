"""What a scoring is: the continuations whose likelihood it reads, and how it weighs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from galenic.data.example import Example

__all__ = ["Scoring"]


class Scoring(ABC):
    """One way to turn the options of a question into scores."""

    name: ClassVar[str]
    generates: ClassVar[bool] = False
    """True when the answer is generated and parsed instead of scored."""
    paired: ClassVar[bool] = False
    """True when each option is read beside the question on its own: options are not shown, and
    solved examples cannot be."""

    @abstractmethod
    def continuation(self, example: Example, label: str) -> str:
        """What follows the prompt when ``label`` is the answer, beginning with a space.

        Few-shot examples are answered with it, and scored scorings read its log-likelihood.
        """

    def weigh(self, example: Example, loglikelihoods: Mapping[str, float]) -> dict[str, float]:
        """Scores per label from log-likelihoods (nats); their softmax gives the probabilities."""
        return dict(loglikelihoods)
