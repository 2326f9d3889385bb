"""Block influence, and perplexity of the model without some of its blocks.

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
"""Number of positions whose logits are computed at once, to limit memory."""


def block_influence(stream: Stream, tokens: Any, advance: Callable[[int], None]) -> list[float]:
    """For each block, 1 - cosine similarity of its input and output, averaged over all tokens."""
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
    """For each candidate, perplexity of the text without the removed blocks and the candidate.

    All candidates are evaluated in one pass that loads each block once: a candidate's hidden states
    are copied from the common ones at the block that it leaves out. Memory holds the text's hidden
    states once per candidate.

    Args:
        stream: the model.
        tokens: text, shape (num_samples, seq_len), no padding.
        removed: indices of the blocks that are always left out.
        candidates: indices of the blocks to leave out in addition, one at a time.
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
