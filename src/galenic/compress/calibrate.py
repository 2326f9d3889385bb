"""The one walk over the blocks of a model: everything that is fitted layer by layer goes this way.

The calibration text is embedded once. Then, block by block, the inputs of the linear maps are
shown to the statistics that the method asks for, the method rewrites the weights, and the block
runs once more, so that the next is fitted to what the changed ones before it put out. Only the
activations at one block boundary are kept: ``num_samples * seq_len * hidden_size`` numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch

from galenic.compress.statistics import Statistic
from galenic.errors import UserError
from galenic.models.layers import INPUT_OF, Block, InputName, Layout

__all__ = ["Inputs", "walk"]

Inputs = Mapping[InputName, Statistic]
"""What was gathered at the inputs of one block's linear maps."""


def walk(
    layout: Layout,
    tokens: Any,
    statistic: Callable[[int], Statistic],
    rewrite_: Callable[[Block, Inputs], None],
    advance: Callable[[int], None],
) -> None:
    """Visit the blocks in order; gather, rewrite, run on.

    Args:
        layout: the model; evaluation mode, on the CPU.
        tokens: calibration text, shape (num_samples, seq_len), no padding.
        statistic: makes an empty statistic for an input of the given size.
        rewrite_: changes the weights of a block, knowing what its linear maps read.
        advance: told after each block how many are done.

    Raises:
        UserError: the model's activations are not finite.
    """
    with torch.no_grad():
        hidden, settings = _embed(layout, tokens)
        for block, kept in zip(layout.blocks, settings, strict=True):
            rewrite_(block, _gather(block, hidden, kept, statistic))
            if block is not layout.blocks[-1]:
                for sample in hidden.split(1):
                    sample.copy_(block.module(sample, **kept))
            advance(block.index + 1)


def _embed(layout: Layout, tokens: Any) -> tuple[Any, list[dict[str, Any]]]:
    """What enters the first block, (num_samples, seq_len, hidden), and each block's other inputs.

    The others (mask, rotary angles) are the same for all samples, as all have one length and no
    padding, but may differ from block to block.
    """
    entering: list[Any] = []
    with _standing_aside(layout.blocks) as settings:
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
    """Let the blocks pass on what they get, computing nothing; yields their keyword inputs."""
    settings: list[dict[str, Any]] = [{} for _ in blocks]

    def pass_on(index: int, hidden: Any, **others: Any) -> Any:
        settings[index] = others
        return hidden

    for block in blocks:
        block.module.forward = partial(pass_on, block.index)  # hides the method of the class
    try:
        yield settings
    finally:
        for block in blocks:
            del block.module.forward


def _gather(
    block: Block,
    hidden: Any,
    settings: Mapping[str, Any],
    empty: Callable[[int], Statistic],
) -> Inputs:
    gathered: dict[InputName, Statistic] = {}
    with ExitStack() as hooks:
        for name in dict.fromkeys(INPUT_OF.values()):
            reader = block.reader(name)
            gathered[name] = empty(reader.num_inputs)
            hook = reader.module.register_forward_pre_hook(partial(_show, gathered[name]))
            hooks.callback(hook.remove)
        for sample in hidden.split(1):
            block.module(sample, **settings)
    if broken := [name for name, statistic in gathered.items() if not statistic.finite]:
        raise UserError(
            f"block {block.index} of the model computes values that are not finite (at its input "
            f"{broken[0]!r}) on the calibration text: its weights are damaged."
        )
    return gathered


def _show(statistic: Statistic, _module: Any, args: tuple[Any, ...]) -> None:
    statistic.update_(args[0].flatten(0, -2))
