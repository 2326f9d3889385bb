"""How much each block changes the residual stream, and what the text costs without some blocks.

Block influence: Men et al., ShortGPT: Layers in Large Language Models are More Redundant Than You
Expect (2024), https://arxiv.org/abs/2403.03853.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from galenic.models.stream import Stream

__all__ = ["block_influence", "perplexities"]

LOSS_POSITIONS = 64
"""Positions whose logits are in memory at once: vocabularies are wide."""


def block_influence(stream: Stream, tokens: Any, advance: Callable[[int], None]) -> list[float]:
    """1 - mean cosine similarity of what enters and what leaves each block, over all tokens."""
    from galenic.models.forward import embed

    found = []
    with torch.no_grad():
        hidden, settings = embed(stream.layout, tokens)
        for index, kept in enumerate(settings):
            total = 0.0
            with stream.block(index) as block:
                for sample in hidden.split(1):
                    leaving = block.module(sample, **kept)
                    near = torch.nn.functional.cosine_similarity(
                        sample.double(), leaving.double(), dim=-1
                    )
                    total += float(near.sum())
                    sample.copy_(leaving)
            found.append(1 - total / tokens.numel())
            advance(index + 1)
    return found


def perplexities(
    stream: Stream, tokens: Any, removed: Collection[int], candidates: Sequence[int]
) -> list[float]:
    """Perplexity of the text without the removed blocks and one candidate more, for each.

    All candidates go through the model side by side, parting from the common path at the block
    that they leave out; each block is read once. Memory holds the hidden states of the text once
    for each candidate.

    Args:
        stream: the model.
        tokens: text, shape (num_samples, seq_len), no padding.
        removed: blocks that are left out in any case.
        candidates: blocks of which each is left out in turn.
    """
    from galenic.models.forward import embed

    with torch.no_grad():
        common, settings = embed(stream.layout, tokens)
        paths: dict[int, Any] = {}
        for index, kept in enumerate(settings):
            if index in removed:
                continue
            running = list(paths.values())
            if index in candidates:
                paths[index] = common.clone()
            if index < max(candidates):
                running.append(common)
            with stream.block(index) as block:
                for hidden in running:
                    for sample in hidden.split(1):
                        sample.copy_(block.module(sample, **kept))
        return [_perplexity(stream, paths[candidate], tokens) for candidate in candidates]


def _perplexity(stream: Stream, hidden: Any, tokens: Any) -> float:
    from galenic.models.forward import head_logits

    total, count = 0.0, 0
    for sample, row in zip(hidden, tokens, strict=True):
        for start in range(0, len(row) - 1, LOSS_POSITIONS):
            following = row[start + 1 : start + 1 + LOSS_POSITIONS]
            logits = head_logits(stream.layout, sample[None, start : start + len(following)])[0]
            loss = torch.nn.functional.cross_entropy(logits, following, reduction="sum")
            total, count = total + float(loss), count + len(following)
    mean = total / count
    return math.exp(mean) if mean < 700 else math.inf
