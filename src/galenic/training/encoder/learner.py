"""Training of an encoder to score the right option higher than the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch

from galenic.models.encoders.encoder import Encoder
from galenic.training.batch import Tally

__all__ = ["ChoiceBatch", "ChoiceItem", "ChoiceLearner"]


@dataclass(frozen=True)
class ChoiceItem:
    """A tokenized question with its options.

    Attributes:
        pairs: tokens of (question, option), for each option.
        labels: labels of the options, in the same order.
        gold: index of the right option.
        group: the benchmark's name.
        weight: relative weight of its loss.
        bundle: always empty, since questions share no computation.
    """

    pairs: tuple[tuple[int, ...], ...]
    labels: tuple[str, ...]
    gold: int
    group: str
    weight: float = 1.0
    bundle: ClassVar[str] = ""

    @property
    def width(self) -> int:
        """Number of tokens of its longest pair."""
        return max(len(pair) for pair in self.pairs)


@dataclass(frozen=True)
class ChoiceBatch:
    """Questions that are computed together.

    Attributes:
        items: the n questions.
        weights: weights of their losses, shape (n,).
    """

    items: tuple[ChoiceItem, ...]
    weights: Any

    @cached_property
    def weight(self) -> float:
        """Sum of the weights."""
        return float(self.weights.double().sum())

    @property
    def num_tokens(self) -> int:
        """Number of tokens of all pairs, without padding."""
        return sum(len(pair) for item in self.items for pair in item.pairs)


class ChoiceLearner(torch.nn.Module):  # type: ignore[misc]
    """An encoder trained with the cross-entropy of the right option among those of its question.

    Args:
        encoder: encoder with its head; all parameters are trained.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.model = encoder.model

    def forward(self, batch: ChoiceBatch) -> Any:
        """Return the weighted sum of the batch's losses."""
        return self.losses(self.scores(batch), batch) @ batch.weights.to(self.device)

    def scores(self, batch: ChoiceBatch) -> Any:
        """Return scores, shape (n, maximum number of options), padded with minus infinity."""
        pairs = [pair for item in batch.items for pair in item.pairs]
        found = self.encoder.scores(pairs).float().split([len(item.pairs) for item in batch.items])
        return torch.nn.utils.rnn.pad_sequence(found, True, float("-inf"))

    @staticmethod
    def cut(items: Sequence[ChoiceItem], most_tokens: int) -> list[ChoiceBatch]:
        """Batch questions of similar length, the longest first.

        A batch has up to ``most_tokens`` tokens including padding, or a single longer question.
        """
        batches: list[list[ChoiceItem]] = []
        width = pairs = 0
        for item in sorted(items, key=lambda item: -item.width):
            pairs += len(item.pairs)
            if batches and width * pairs <= most_tokens:
                batches[-1].append(item)
            else:
                batches.append([item])
                width, pairs = item.width, len(item.pairs)
        return [
            ChoiceBatch(tuple(batch), torch.tensor([item.weight for item in batch]))
            for batch in batches
        ]

    def attending(self, batch: ChoiceBatch) -> AbstractContextManager[None]:  # noqa: ARG002
        """Return an empty context: the encoder's attention needs no setup for a batch."""
        return nullcontext()

    @property
    def device(self) -> Any:
        return next(self.model.parameters()).device

    def losses(self, scores: Any, batch: ChoiceBatch) -> Any:
        gold = torch.tensor([item.gold for item in batch.items], device=scores.device)
        return torch.nn.functional.cross_entropy(scores, gold, reduction="none")


def measure_choices(learner: ChoiceLearner, batches: Iterable[ChoiceBatch]) -> Tally:
    """Compute loss and answers on the batches; leaves the model in eval mode."""
    tally = Tally()
    learner.eval()
    with torch.no_grad():
        for batch in batches:
            scores = learner.scores(batch)
            weights = batch.weights.to(learner.device)
            tally.loss += float(learner.losses(scores, batch) @ weights)
            tally.weight += batch.weight
            for item, place in zip(batch.items, scores.argmax(dim=-1).tolist(), strict=True):
                tally.answers[item.group, item.labels[place], item.labels[item.gold]] += 1
    return tally
