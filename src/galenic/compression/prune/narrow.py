"""Cutting every block to the same smaller widths, one after the other, and writing each."""

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
    """The configuration of a model with other widths; the head size is always spelled out.

    Raises:
        ValueError: transformers does not allow them for this architecture.
    """
    widths = {
        "hidden_size": sizes.hidden_size,
        "intermediate_size": sizes.ffn_size,
        "num_attention_heads": sizes.num_heads,
        "num_key_value_heads": sizes.num_kv_heads,
        "head_dim": sizes.head_size,
    }
    return changed_configuration(config, widths)


def meta_layout(config: Any) -> Layout:
    """A model with that configuration and no weights."""
    from galenic.models.shapes import empty_model

    return read_layout(empty_model(config))


def choose_kept(scores: BlockScores, sizes: Sizes, cut: Sizes, hidden: Any) -> Kept:
    """The best-scored channels and groups of one block; of equals, those with the lower index.

    Args:
        scores: of the block.
        sizes: of the model as it is.
        cut: of the model as it will be.
        hidden: dimensions of the residual stream that stay, from `choose_hidden`.
    """
    return Kept(
        _best(scores.channels, cut.ffn_size),
        _best(scores.groups, cut.num_kv_heads),
        hidden,
        sizes,
    )


def choose_hidden(scores: Sequence[BlockScores], cut: Sizes) -> Any:
    """The dimensions of the residual stream that score best over all blocks."""
    return _best(torch.stack([block.hidden for block in scores]).sum(dim=0), cut.hidden_size)


def _best(scores: Any, count: int) -> Any:
    return scores.argsort(descending=True, stable=True)[:count].sort().values


def estimate_damage(scores: Sequence[BlockScores], cut: Sizes) -> float:
    """Sum of the scores of all that a cut removes."""
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
    """Cut the model, its blocks in order, and write it.

    Args:
        stream: the model; its final norm is changed where the residual stream is cut.
        scores: of each block.
        target: the narrower model, without weights.
        writer: takes everything.
        correction: calibration text, (num_samples, seq_len), and damping for the
            least-squares compensation of pruned inputs, on the activations of the model as it is
            cut so far; or None.
        advance: told after each block how many are done.
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
    """Calibration text on its way through the model that is cut, and what is corrected by it.

    Attributes:
        hidden: what enters the next block: as wide as before, zero where dimensions go.
    """

    def __init__(self, layout: Layout, stays: Any, tokens: Any, damping: float) -> None:
        from galenic.models.forward import embed

        self.stays, self.damping = stays, damping
        self.hidden, self.settings = embed(layout, tokens)
        gone = torch.ones(layout.sizes.hidden_size, dtype=torch.bool)
        gone[stays] = False
        self.hidden[..., gone] = 0

    def correct_(self, block: Block, kept: Kept) -> None:
        """Correct the maps behind what goes; attention first, for the other part reads it."""
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
        """Run the finished block."""
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
