"""Training texts, and batches that lay them out as one pack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import torch

from galenic.runtimes.tree import Pack, Request, build_pack

__all__ = [
    "AnswerOption",
    "Batch",
    "Objective",
    "Ranked",
    "Tally",
    "TrainItem",
    "cut_batches",
    "make_batch",
]


@dataclass(frozen=True)
class AnswerOption:
    """An answer option of a question.

    Attributes:
        label: the option's label, for example "A".
        tokens: tokens of the option's text, as it continues the question.
        num_bytes: length of the text in bytes.
    """

    label: str
    tokens: tuple[int, ...]
    num_bytes: int


@dataclass(frozen=True)
class TrainItem:
    """A training text, and which of its tokens are supervised.

    Attributes:
        tokens: tokens of the whole text.
        start: index of the first supervised token; at least 1.
        weight: relative weight of the text's loss, divided equally among its supervised tokens.
        group: key for accuracy and histogram: a benchmark's name, or "" for free text.
        choices: (label, token) for each possible answer, where the token is the one that
            distinguishes the answers; empty for free text.
        gold: label of the right answer.
        shared: number of supervised tokens before that one, common to all answers.
        bundle: texts with the same bundle go into the same step if they fit; "" means none.
        options: answer options, including the right one, whose likelihoods the loss compares;
            empty if the text is learnt on its own.
        scale: factor on the log-likelihoods per byte before the softmax over the options.
        kept: train this softmax to match the untuned model's, whichever option is right.
    """

    tokens: tuple[int, ...]
    start: int
    weight: float = 1.0
    group: str = ""
    choices: tuple[tuple[str, int], ...] = ()
    gold: str = ""
    shared: int = 0
    bundle: str = ""
    options: tuple[AnswerOption, ...] = ()
    scale: float = 1.0
    kept: bool = False

    @property
    def requests(self) -> list[Request]:
        """Sequences to compute: the text itself, or the question followed by each option."""
        if not self.options:
            return [Request(self.tokens, self.start)]
        asked = self.tokens[: self.start]
        return [Request((*asked, *option.tokens), self.start) for option in self.options]

    @property
    def num_tokens(self) -> int:
        """Number of tokens to compute; the question counts once."""
        return max(len(self.tokens), self.start + sum(len(o.tokens) for o in self.options))

    def __post_init__(self) -> None:
        if not 1 <= self.start < len(self.tokens):
            raise ValueError(f"start {self.start} must be in [1, {len(self.tokens)})")
        if not self.weight > 0:
            raise ValueError(f"weight {self.weight} must be above 0")


@dataclass(frozen=True)
class Ranked:
    """Position in a batch of a question whose options are compared.

    Attributes:
        reads: (first, last + 1) of its reads.
        option: index of the option that each of these n reads belongs to, shape (n,).
        num_bytes: length of each of the k options, shape (k,); float32.
        gold: index of the right option.
        scale: factor on the log-likelihoods per byte.
    """

    reads: tuple[int, int]
    option: Any
    num_bytes: Any
    gold: int
    scale: float


@dataclass(frozen=True)
class Batch:
    """Texts computed together, laid out as one pack.

    A "read" is a supervised token whose probability is read from the logits.

    Attributes:
        items: the texts.
        pack: layout of their tokens in rows; its reads are in the order of the items.
        first: index of the first read of each item.
        rows: rows whose next-token distribution is needed, shape (r,).
        place: index into ``rows`` of each read, shape (p,).
        targets: token id of each read, shape (p,).
        weights: loss weight of each read, shape (p,); float32.
        ranked: items with options, by their index in ``items``.
    """

    items: tuple[TrainItem, ...]
    pack: Pack
    first: tuple[int, ...]
    rows: Any
    place: Any
    targets: Any
    weights: Any
    ranked: dict[int, Ranked] = field(default_factory=dict)

    @property
    def weight(self) -> float:
        """Sum of the weights of all reads."""
        return float(self.weights.double().sum())

    @property
    def num_tokens(self) -> int:
        """Number of tokens of all texts; a shared prefix counts once per text."""
        return self.pack.num_asked

    def to(self, device: Any) -> Batch:
        """Return a copy with its tensors on the given device."""
        names = ("rows", "place", "targets", "weights")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


class Objective(Protocol):
    """The loss function to be minimised."""

    def __call__(self, logits: Any, batch: Batch) -> Any:
        """Return the weighted sum of the losses of all reads.

        Args:
            logits: logits at ``batch.rows``, shape (r, vocabulary).
            batch: the texts, with targets and weights.
        """


def make_batch(items: Sequence[TrainItem]) -> Batch:
    """Lay texts out as one pack."""
    requests = [item.requests for item in items]
    pack = build_pack([request for asked in requests for request in asked])
    rows, place = np.unique(pack.read_rows, return_inverse=True)
    sizes = [[len(one.tokens) - one.start for one in asked] for asked in requests]
    counts = [sum(own) for own in sizes]
    first = tuple(accumulate(counts[:-1], initial=0))
    return Batch(
        items=tuple(items),
        pack=pack,
        first=first,
        rows=torch.from_numpy(rows.astype(np.int64)),
        place=torch.from_numpy(place.astype(np.int64).reshape(-1)),
        targets=torch.from_numpy(pack.read_tokens.astype(np.int64)),
        weights=torch.tensor(
            [
                item.weight / count
                for item, count in zip(items, counts, strict=True)
                for _ in range(count)
            ]
        ),
        ranked={
            place: _ranked(item, first[place], sizes[place])
            for place, item in enumerate(items)
            if item.options
        },
    )


def _ranked(item: TrainItem, first: int, sizes: Sequence[int]) -> Ranked:
    labels = [option.label for option in item.options]
    return Ranked(
        reads=(first, first + sum(sizes)),
        option=torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)),
        num_bytes=torch.tensor([float(max(1, option.num_bytes)) for option in item.options]),
        gold=labels.index(item.gold),
        scale=item.scale,
    )


def cut_batches(items: Sequence[TrainItem], most_tokens: int) -> list[Batch]:
    """Split texts, in order, into batches of up to ``most_tokens`` tokens (or one longer text)."""
    batches: list[Batch] = []
    waiting: list[TrainItem] = []
    size = 0
    for item in items:
        if waiting and size + item.num_tokens > most_tokens:
            batches.append(make_batch(waiting))
            waiting, size = [], 0
        waiting.append(item)
        size += item.num_tokens
    if waiting:
        batches.append(make_batch(waiting))
    return batches


@dataclass
class Tally:
    """Validation results of one process on its share of the held-out texts.

    Attributes:
        loss: weighted sum of the losses, in nats.
        weight: sum of the weights.
        answers: counts of (group, predicted label, right label).
        divergence: weighted sum of the KL divergences from the teacher, in nats.
        share: see `Validation`.
    """

    loss: float = 0.0
    weight: float = 0.0
    answers: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    divergence: float = 0.0
    share: float = 0.0
