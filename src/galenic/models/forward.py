"""Run a model in parts: embedding, single blocks, final norm and head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from galenic.models.families import finish_logits
from galenic.models.layers import Block, Layout

__all__ = ["embed", "head_logits", "run_block"]


def embed(layout: Layout, tokens: Any) -> tuple[Any, list[dict[str, Any]]]:
    """Compute the input of the first block, and the other arguments of every block.

    The other arguments (mask, rotary angles) may differ between blocks, but not between samples,
    which all have one length and no padding. Blocks are not run and may be on ``meta``.

    Args:
        layout: the model in evaluation mode, with the parts outside the blocks loaded.
        tokens: shape (num_samples, seq_len), no padding.

    Returns:
        Hidden states, shape (num_samples, seq_len, hidden); keyword arguments for each block.
    """
    import torch

    entering: list[Any] = []
    with torch.no_grad(), _standing_aside(layout.blocks) as settings:
        first = layout.blocks[0].module.register_forward_pre_hook(
            lambda _, args: entering.append(args[0])
        )
        try:
            for sample in tokens.split(1):
                layout.decoder(input_ids=sample, use_cache=False)
        finally:
            first.remove()
    return torch.cat(entering), settings


@contextmanager
def _standing_aside(blocks: Sequence[Block]) -> Iterator[list[dict[str, Any]]]:
    """Make every block return its input unchanged; yields the keyword arguments each receives."""
    settings: list[dict[str, Any]] = [{} for _ in blocks]

    def pass_on(index: int, hidden: Any, **others: Any) -> Any:
        settings[index] = others
        return hidden

    for index, block in enumerate(blocks):
        block.module.forward = partial(pass_on, index)  # shadows the class's method
    try:
        yield settings
    finally:
        for block in blocks:
            del block.module.forward


def run_block(block: Block, hidden: Any, settings: Mapping[str, Any]) -> Any:
    """Apply a block to hidden states of shape (samples, seq_len, hidden)."""
    return block.module(hidden, **settings)


def head_logits(layout: Layout, hidden: Any) -> Any:
    """Logits of shape (samples, seq_len, vocabulary) from the last block's output."""
    logits = layout.model.get_output_embeddings()(layout.norm(hidden))
    return finish_logits(layout.model.config, logits)
