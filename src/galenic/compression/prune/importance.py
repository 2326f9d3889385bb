"""Importance scores of channels, key/value groups and dimensions of the residual stream.

There are four scores:

- ``magnitude``: sum of the squared weights that would be removed with it. Uses no text.
- ``activation``: energy that it adds to the residual stream, ``sum x^2 * |w|^2``, where ``w`` is
  its column in the following layer (Minitron, https://arxiv.org/abs/2407.14679, scores by
  activations). For a dimension, its share of the energy of the block's input, summed over tokens.
- ``taylor``: first-order change of the loss when it is set to zero, ``x * dL/dx``, squared at each
  token and summed (Molchanov et al., https://arxiv.org/abs/1906.10771).
- ``combined``: geometric mean of the last two, each divided by its mean over the model.

All scores are additive, so the sum over a set estimates the effect of removing the set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch

from galenic.compression.blocks.gradients import Shown, inputs_of, walk_back
from galenic.models.layers import Block, Sizes

if TYPE_CHECKING:
    from galenic.models.stream import Stream

__all__ = ["BlockScores", "Score", "score_blocks"]

Score: TypeAlias = Literal["taylor", "activation", "combined", "magnitude"]


@dataclass(frozen=True)
class BlockScores:
    """Scores of one block in float64; higher means more important.

    Attributes:
        channels: shape (ffn_size,).
        groups: shape (num_kv_heads,).
        hidden: shape (hidden_size,).
    """

    channels: Any
    groups: Any
    hidden: Any


def score_blocks(
    stream: Stream, tokens: Any, score: Score, folder: Path, advance: Callable[[int], None]
) -> list[BlockScores]:
    """Score every block of the model.

    Args:
        stream: the model.
        tokens: calibration text, shape (num_samples, seq_len); unused by ``magnitude``.
        score: name of the score.
        folder: folder for a temporary file (``taylor`` and ``combined``).
        advance: called with the number of block passes done, out of two per block.
    """
    blocks = len(stream.layout.blocks)
    if score == "magnitude":
        return _each_block(stream, _weights, advance)
    if score == "activation":
        return _activations(stream, tokens, advance)
    sizes = stream.layout.sizes
    taylor = [_Terms(sizes) for _ in range(blocks)]
    energy = [_Terms(sizes) for _ in range(blocks)]

    def see(block: Block, shown: Mapping[Shown, tuple[Any, Any]]) -> None:
        taylor[block.index].add_taylor_(shown)
        energy[block.index].add_energy_(block, {name: x for name, (x, _) in shown.items()})

    walk_back(stream, tokens, folder, see, advance)
    first = [terms.scores for terms in taylor]
    return first if score == "taylor" else _combine(first, [terms.scores for terms in energy])


class _Terms:
    """Accumulates a block's scores over tokens, by channel, group and dimension."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.channels = torch.zeros(sizes.ffn_size, dtype=torch.float64)
        self.groups = torch.zeros(sizes.num_kv_heads, dtype=torch.float64)
        self.hidden = torch.zeros(sizes.hidden_size, dtype=torch.float64)

    @property
    def scores(self) -> BlockScores:
        return BlockScores(self.channels, self.groups, self.hidden)

    def add_taylor_(self, shown: Mapping[Shown, tuple[Any, Any]]) -> None:
        inputs, gradient = shown["channels"]
        self.channels += (inputs.double() * gradient).square().sum(dim=0)
        inputs, gradient = shown["heads"]
        terms = (inputs.double() * gradient).view(len(inputs), self.sizes.num_kv_heads, -1)
        self.groups += terms.sum(dim=-1).square().sum(dim=0)  # a whole group is removed
        inputs, gradient = shown["hidden"]
        self.hidden += (inputs.double() * gradient).square().sum(dim=0)

    def add_energy_(self, block: Block, inputs: Mapping[Shown, Any]) -> None:
        weights = block.linears["down"].weight.double().square().sum(dim=0)
        self.channels += inputs["channels"].double().square().sum(dim=0) * weights
        weights = block.linears["o"].weight.double().square().sum(dim=0)
        energy = inputs["heads"].double().square().sum(dim=0) * weights
        self.groups += energy.view(self.sizes.num_kv_heads, -1).sum(dim=-1)
        squares = inputs["hidden"].double().square()
        mean = squares.mean(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        self.hidden += (squares / mean).sum(dim=0)


def _weights(block: Block, sizes: Sizes) -> BlockScores:
    squares = {role: linear.weight.double().square() for role, linear in block.linears.items()}
    channels = squares["up"].sum(dim=1) + squares["down"].sum(dim=0)
    if "gate" in squares:
        channels += squares["gate"].sum(dim=1)
    parts = [squares[role].sum(dim=1) for role in ("q", "k", "v", "qkv") if role in squares]
    parts.append(squares["o"].sum(dim=0))
    groups = sum(part.view(sizes.num_kv_heads, -1).sum(dim=1) for part in parts)
    read = [squares[role].sum(dim=0) for role in squares if role not in ("o", "down")]
    written = squares["o"].sum(dim=1) + squares["down"].sum(dim=1)
    return BlockScores(channels, groups, sum(read) + written)


def _each_block(
    stream: Stream,
    measure: Callable[[Block, Sizes], BlockScores],
    advance: Callable[[int], None],
) -> list[BlockScores]:
    found = []
    for index in range(len(stream.layout.blocks)):
        with stream.block(index) as block:
            found.append(measure(block, stream.layout.sizes))
        advance(2 * index + 2)
    return found


def _activations(stream: Stream, tokens: Any, advance: Callable[[int], None]) -> list[BlockScores]:
    from galenic.models.forward import embed

    hidden, settings = embed(stream.layout, tokens)

    def measure(block: Block, sizes: Sizes) -> BlockScores:
        terms = _Terms(sizes)
        for sample in hidden.split(1):
            with inputs_of(block, ("heads", "channels")) as inputs, torch.no_grad():
                leaving = block.module(sample, **settings[block.index])
            shown: dict[Shown, Any] = {"hidden": sample[0]}
            shown.update((name, x[0]) for name, x in inputs.items())
            terms.add_energy_(block, shown)
            sample.copy_(leaving)
        return terms.scores

    return _each_block(stream, measure, advance)


def _combine(first: Sequence[BlockScores], second: Sequence[BlockScores]) -> list[BlockScores]:
    """Geometric means of two scores, normalised so that each has mean 1 over the channels."""
    units = [torch.stack([s.channels for s in scores]).mean() for scores in (first, second)]
    scale = (units[0] * units[1]).clamp_min(torch.finfo(torch.float64).tiny)
    return [
        BlockScores(
            (a.channels * b.channels / scale).sqrt(),
            (a.groups * b.groups / scale).sqrt(),
            (a.hidden * b.hidden).sqrt(),
        )
        for a, b in zip(first, second, strict=True)
    ]
