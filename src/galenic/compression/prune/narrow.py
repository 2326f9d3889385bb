"""Prune every block to the same smaller widths, one block at a time, and write the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from galenic.compression.blocks.gradients import inputs_of
from galenic.compression.blocks.statistics import Gram
from galenic.compression.prune.compensate import compensate_
from galenic.compression.prune.importance import BlockScores
from galenic.compression.prune.slice import Kept, fill_
from galenic.models.configuration import changed_configuration
from galenic.models.layers import Block, InputName, Layout, Sizes, read_layout

if TYPE_CHECKING:
    from galenic.models.save import FolderWriter
    from galenic.models.stream import Stream

__all__ = [
    "choose_hidden",
    "choose_kept",
    "estimate_damage",
    "meta_layout",
    "narrow",
    "narrow_config",
]


def narrow_config(config: Any, sizes: Sizes) -> Any:
    """Return the config with other widths; always sets ``head_dim`` if the architecture has it.

    Raises:
        ValueError: transformers does not allow these widths for the architecture.
    """
    widths = {
        "hidden_size": sizes.hidden_size,
        "intermediate_size": sizes.ffn_size,
        "num_attention_heads": sizes.num_heads,
        "num_key_value_heads": sizes.num_kv_heads,
        "head_dim": sizes.head_size,
    }
    if not hasattr(config, "num_key_value_heads"):  # GPT-NeoX derives both
        del widths["num_key_value_heads"], widths["head_dim"]
    return changed_configuration(config, widths)


def meta_layout(config: Any) -> Layout:
    """Return the layout of a model with this config and no weights (on the meta device)."""
    from galenic.models.shapes import empty_model

    return read_layout(empty_model(config))


def choose_kept(scores: BlockScores, sizes: Sizes, cut: Sizes, hidden: Any) -> Kept:
    """Choose the channels and groups of highest score in a block; ties go to the lower index.

    Args:
        scores: scores of the block.
        sizes: sizes of the model before pruning.
        cut: sizes after pruning.
        hidden: dimensions of the residual stream to keep, from `choose_hidden`.
    """
    return Kept(
        _best(scores.channels, cut.ffn_size),
        _best(scores.groups, cut.num_kv_heads),
        hidden,
        sizes,
    )


def choose_hidden(scores: Sequence[BlockScores], cut: Sizes) -> Any:
    """Indices of the residual stream's dimensions with the highest scores summed over blocks."""
    return _best(torch.stack([block.hidden for block in scores]).sum(dim=0), cut.hidden_size)


def _best(scores: Any, count: int) -> Any:
    return scores.argsort(descending=True, stable=True)[:count].sort().values


def estimate_damage(scores: Sequence[BlockScores], cut: Sizes) -> float:
    """Sum of the scores of all channels and groups that a cut removes."""
    total = 0.0
    for block in scores:
        for values, count in (
            (block.channels, cut.ffn_size),
            (block.groups, cut.num_kv_heads),
        ):
            total += float(values.sort().values[: len(values) - count].sum())
    return total


def narrow(
    stream: Stream,
    scores: Sequence[BlockScores],
    target: Layout,
    writer: FolderWriter,
    correction: tuple[Any, float] | None,
    advance: Callable[[int], None],
) -> None:
    """Prune the model block by block, and write it.

    Args:
        stream: the model; its final norm is changed if the residual stream becomes narrower.
        scores: scores of each block.
        target: layout of the narrower model, without weights.
        writer: writes the result.
        correction: calibration tokens (num_samples, seq_len) and damping for the least-squares
            compensation of pruned inputs, which uses activations of the model as pruned so far;
            None for no compensation.
        advance: called after each block with the number of blocks done.
    """
    from galenic.compression.prune.residual import fit_norms_, write_embedding, write_leaving

    layout, narrower = stream.layout, target.sizes.hidden_size < stream.layout.sizes.hidden_size
    stays = choose_hidden(scores, target.sizes)
    if narrower:
        write_embedding(writer, layout, target, stays)
    else:
        writer.write_outer(layout)
    run = _Run(layout, stays, *correction) if correction else None
    for place in target.blocks:
        kept = choose_kept(scores[place.index], layout.sizes, target.sizes, stays)
        with stream.block(place.index) as block:
            if run is not None:
                run.correct_(block, kept)
            if narrower:
                fit_norms_(block, kept, layout.family)
            fill_(place, block, kept)
        with _freed(place):
            if run is not None:
                run.advance_(place)
            writer.write_block(place)
        advance(place.index + 1)
    if narrower:
        write_leaving(writer, layout, target, stays)


class _Run:
    """Runs calibration text through the pruned model, and compensates each block's weights with it.

    Attributes:
        hidden: input of the next block, in the original width, with removed dimensions zero.
    """

    def __init__(self, layout: Layout, stays: Any, tokens: Any, damping: float) -> None:
        from galenic.models.forward import embed

        self.stays, self.damping = stays, damping
        self.hidden, self.settings = embed(layout, tokens)
        gone = torch.ones(layout.sizes.hidden_size, dtype=torch.bool)
        gone[stays] = False
        self.hidden[..., gone] = 0

    def correct_(self, block: Block, kept: Kept) -> None:
        """Compensate the output layers; attention first, since the feed-forward part reads it."""
        from galenic.compression.prune.residual import silence_

        settings = self.settings[block.index]
        silence_(block, kept)
        if len(kept.groups) < kept.sizes.num_kv_heads:
            gram = _gram(block, "heads", self.hidden, settings)
            compensate_(block.linears["o"].weight, gram, kept.queries, self.damping)
        if len(kept.channels) < kept.sizes.ffn_size:
            gram = _gram(block, "channels", self.hidden, settings)
            compensate_(block.linears["down"].weight, gram, kept.channels, self.damping)

    def advance_(self, place: Block) -> None:
        """Update ``hidden`` by running the pruned block."""
        with torch.no_grad():
            for sample in self.hidden.split(1):
                entering = sample[..., self.stays]
                sample[..., self.stays] = place.module(entering, **self.settings[place.index])


@contextmanager
def _freed(block: Block) -> Iterator[None]:
    try:
        yield
    finally:
        block.module.to("meta")


def _gram(block: Block, name: InputName, hidden: Any, settings: Any) -> Any:
    gram = Gram(block.reader(name).num_inputs)
    with torch.no_grad():
        for sample in hidden.split(1):
            with inputs_of(block, (name,)) as inputs:
                block.module(sample, **settings)
            gram.update_(inputs[name][0])
    return gram.total
