"""Base class of scorings: which continuations are scored, and how scores are computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from galenic.data.example import Example

__all__ = ["Scoring"]


class Scoring(ABC):
    """A method of turning the options of a question into scores."""

    name: ClassVar[str]
    generates: ClassVar[bool] = False
    """True if the answer is generated and parsed instead of scored."""
    paired: ClassVar[bool] = False
    """True if each option is paired with the question separately; then options are not shown, and
    few-shot examples are not supported."""

    @abstractmethod
    def continuation(self, example: Example, label: str) -> str:
        """Return the text that follows the prompt if ``label`` is the answer, with a leading space.

        It is the answer in few-shot examples, and the text whose log-likelihood is scored.
        """

    def weigh(self, example: Example, loglikelihoods: Mapping[str, float]) -> dict[str, float]:
        """Compute scores by label from log-likelihoods in nats; their softmax is the prediction."""
        return dict(loglikelihoods)
