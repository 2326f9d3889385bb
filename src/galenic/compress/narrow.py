"""Cutting every block to the same smaller widths, one after the other, and writing each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from galenic.compress.backward import inputs_of
from galenic.compress.compensate import compensate_
from galenic.compress.importance import BlockScores
from galenic.compress.slice import Kept, fill_
from galenic.compress.statistics import Gram
from galenic.models.layers import Block, InputName, Layout, Sizes, read_layout

if TYPE_CHECKING:
    from galenic.models.save import FolderWriter
    from galenic.models.stream import Stream

__all__ = ["choose_kept", "estimate_damage", "meta_layout", "narrow", "narrow_config"]


def narrow_config(config: Any, sizes: Sizes) -> Any:
    """The configuration of a model with other widths; the head size is always spelled out.

    Raises:
        ValueError: transformers does not allow them for this architecture.
    """
    facts = copy.deepcopy(config).to_dict() | {
        "hidden_size": sizes.hidden_size,
        "intermediate_size": sizes.ffn_size,
        "num_attention_heads": sizes.num_heads,
        "num_key_value_heads": sizes.num_kv_heads,
        "head_dim": sizes.head_size,
    }
    return type(config)(**facts)


def meta_layout(config: Any) -> Layout:
    """A model with that configuration and no weights."""
    from galenic.models.checkpoint import empty_model

    return read_layout(empty_model(config))


def choose_kept(scores: BlockScores, sizes: Sizes, cut: Sizes) -> Kept:
    """The best-scored channels and groups of one block; of equals, those with the lower index."""
    return Kept(
        _best(scores.channels, cut.ffn_size),
        _best(scores.groups, cut.num_kv_heads),
        torch.arange(sizes.hidden_size),
        sizes,
    )


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
    """Cut the blocks in order and write them.

    Args:
        stream: the model.
        scores: of each block.
        target: the narrower model, without weights.
        writer: takes each block.
        correction: calibration text, (num_samples, seq_len), and damping for letting what stays
            make up for what goes, on the activations of the model as it is cut so far; or None.
        advance: told after each block how many are done.
    """
    from galenic.models.forward import embed

    sizes = stream.layout.sizes
    hidden: Any = None
    settings: list[dict[str, Any]] = []
    if correction:
        hidden, settings = embed(stream.layout, correction[0])
    for place in target.blocks:
        kept = choose_kept(scores[place.index], sizes, target.sizes)
        with stream.block(place.index) as block:
            if correction:
                make_up_(block, kept, hidden, settings[place.index], correction[1])
            fill_(place, block, kept)
        with _freed(place):
            if correction:
                with torch.no_grad():
                    for sample in hidden.split(1):
                        sample.copy_(place.module(sample, **settings[place.index]))
            writer.write_block(place)
        advance(place.index + 1)


@contextmanager
def _freed(block: Block) -> Iterator[None]:
    try:
        yield
    finally:
        block.module.to("meta")


def make_up_(block: Block, kept: Kept, hidden: Any, settings: Any, damping: float) -> None:
    """Correct the two maps behind what is cut; attention first, for the other part reads it."""
    if len(kept.groups) < kept.sizes.num_kv_heads:
        gram = _gram(block, "heads", hidden, settings)
        compensate_(block.linears["o"].weight, gram, kept.queries, damping)
    if len(kept.channels) < kept.sizes.ffn_size:
        gram = _gram(block, "channels", hidden, settings)
        compensate_(block.linears["down"].weight, gram, kept.channels, damping)


def _gram(block: Block, name: InputName, hidden: Any, settings: Any) -> Any:
    gram = Gram(block.reader(name).num_inputs)
    with torch.no_grad():
        for sample in hidden.split(1):
            with inputs_of(block, (name,)) as inputs:
                block.module(sample, **settings)
            gram.update_(inputs[name][0])
    return gram.total
