"""Texts to learn from, laid out as one pack."""

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
    """One of the texts that a question may be answered with.

    Attributes:
        label: what it is called.
        tokens: the text, behind the question.
        num_bytes: of the text.
    """

    label: str
    tokens: tuple[int, ...]
    num_bytes: int


@dataclass(frozen=True)
class TrainItem:
    """One text and which of its tokens are learnt.

    Attributes:
        tokens: the whole text.
        start: tokens from here on are supervised; at least 1.
        weight: of its loss beside that of others; it is shared among its supervised tokens.
        group: what it belongs to, for the histogram: a benchmark's name, or "" for free text.
        choices: the token of each possible answer, by label, that tells them apart; empty for free
            text.
        gold: label of the right one.
        shared: supervised tokens before that one, which all answers have.
        bundle: texts of one bundle are learnt in the same step, as far as they fit; "" is alone.
        options: what the text behind ``start`` is to be likelier than, itself among them; empty
            where it is learnt by itself.
        scale: the softmax over the options takes their log-likelihoods per byte times this.
        kept: this softmax is to stay that of the untuned model, whichever option is right.
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
        """The texts to compute: itself, or the question with each option behind it."""
        if not self.options:
            return [Request(self.tokens, self.start)]
        asked = self.tokens[: self.start]
        return [Request((*asked, *option.tokens), self.start) for option in self.options]

    @property
    def num_tokens(self) -> int:
        """Tokens to compute."""
        return max(len(self.tokens), self.start + sum(len(o.tokens) for o in self.options))

    def __post_init__(self) -> None:
        if not 1 <= self.start < len(self.tokens):
            raise ValueError(f"start {self.start} must be in [1, {len(self.tokens)})")
        if not self.weight > 0:
            raise ValueError(f"weight {self.weight} must be above 0")


@dataclass(frozen=True)
class Ranked:
    """Where in a batch a question is whose options are compared.

    Attributes:
        reads: its first read, and the one behind its last.
        option: of each of these reads, shape (n,).
        num_bytes: of each option, shape (k,); float32.
        gold: which option is right.
        scale: of the log-likelihoods per byte.
    """

    reads: tuple[int, int]
    option: Any
    num_bytes: Any
    gold: int
    scale: float


@dataclass(frozen=True)
class Batch:
    """Texts that are computed together, laid out as one pack.

    Attributes:
        items: the texts.
        pack: their rows; read ``i`` is a supervised token. Reads are in the order of the items.
        first: the first read of each item.
        rows: rows whose next-token distribution is needed, shape (r,).
        place: index into ``rows`` of each read, shape (p,).
        targets: the token of each read, shape (p,).
        weights: of each read, shape (p,); float32.
        ranked: items with options by their place in ``items``.
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
        """What the losses of its reads weigh together."""
        return float(self.weights.double().sum())

    @property
    def num_tokens(self) -> int:
        """Tokens of its texts, shared ones counted for each."""
        return self.pack.num_asked

    def to(self, device: Any) -> Batch:
        """The same batch with its tensors on a device."""
        names = ("rows", "place", "targets", "weights")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


class Objective(Protocol):
    """What is minimised."""

    def __call__(self, logits: Any, batch: Batch) -> Any:
        """Weighted sum of the losses of all reads.

        Args:
            logits: shape (r, vocabulary), of ``batch.rows``.
            batch: targets and weights.
        """


def make_batch(items: Sequence[TrainItem]) -> Batch:
    """Lay texts out together."""
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
    """Cut texts, in their order, into batches of at most so many tokens (or of one longer text)."""
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
    """What one process found in its part of the held-out texts.

    Attributes:
        loss: weighted sum.
        weight: of the texts.
        answers: how often (group, predicted label, right label) came.
        divergence: weighted sum.
        share: see `Validation`.
    """

    loss: float = 0.0
    weight: float = 0.0
    answers: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    divergence: float = 0.0
    share: float = 0.0
