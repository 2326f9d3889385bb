"""The one walk over the blocks of a model: everything that is fitted layer by layer goes this way.

The calibration text is embedded once. Then, block by block, the weights are read, the inputs of the
linear maps are shown to the statistics that the method asks for, the method rewrites the weights,
and the block runs once more, so that the next is fitted to what the changed ones before it put out.
Only the activations at one block boundary are kept, ``num_samples * seq_len * hidden_size``
numbers, and the weights of one block.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import torch

from galenic.compression.blocks.statistics import Statistic
from galenic.errors import UserError
from galenic.models import forward
from galenic.models.families import Role
from galenic.models.forward import head_logits, run_block
from galenic.models.layers import INPUT_OF, Block, InputName
from galenic.models.stream import Stream

__all__ = [
    "Inputs",
    "check_finite",
    "embed",
    "gather",
    "head_logits",
    "observe",
    "run_block",
    "run_on_",
    "showing",
    "walk",
]

Inputs = Mapping[InputName, Statistic]
"""What was gathered at the inputs of one block's linear maps."""


def embed(stream: Stream, tokens: Any) -> tuple[Any, list[dict[str, Any]]]:
    """What enters the first block, and each block's other inputs: `galenic.models.forward.embed`.

    Args:
        stream: the model.
        tokens: shape (num_samples, seq_len), no padding.

    Returns:
        Hidden states, shape (num_samples, seq_len, hidden); keyword arguments for each block.
    """
    return forward.embed(stream.layout, tokens)


def walk(
    stream: Stream,
    tokens: Any,
    statistic: Callable[[int], Statistic],
    rewrite_: Callable[[Block, Inputs], None],
    advance: Callable[[int], None],
    *,
    roles: Collection[Role] | None = None,
) -> None:
    """Visit the blocks in order; read, gather, rewrite, run on, forget.

    Args:
        stream: the model.
        tokens: calibration text, shape (num_samples, seq_len), no padding.
        statistic: makes an empty statistic for an input of the given size.
        rewrite_: changes the weights of a block, knowing what its linear maps read, and keeps what
            it wants to keep of them.
        advance: told after each block how many are done.
        roles: linear maps whose inputs are looked at; None: all.

    Raises:
        UserError: the model's activations are not finite.
    """
    hidden, settings = embed(stream, tokens)
    for index, kept in enumerate(settings):
        with stream.block(index) as block, torch.no_grad():
            rewrite_(block, gather(block, hidden, kept, statistic, roles=roles))
            if index + 1 < len(settings):
                run_on_(block, hidden, kept)
        advance(index + 1)


def observe(
    stream: Stream,
    tokens: Any,
    statistic: Callable[[int], Statistic],
    advance: Callable[[int], None],
    *,
    roles: Collection[Role] | None = None,
) -> Iterator[tuple[int, Inputs]]:
    """The same walk without changing anything: yields each block's number and gathered inputs.

    Raises:
        UserError: the model's activations are not finite.
    """
    hidden, settings = embed(stream, tokens)
    for index, kept in enumerate(settings):
        with stream.block(index) as block:
            inputs = gather(block, hidden, kept, statistic, roles=roles, run_on=True)
        yield index, inputs
        advance(index + 1)


def run_on_(block: Block, hidden: Any, settings: Mapping[str, Any]) -> None:
    """Replace hidden states, shape (num_samples, seq_len, hidden), by what the block makes of them.

    One sample at a time.
    """
    with torch.no_grad():
        for sample in hidden.split(1):
            sample.copy_(run_block(block, sample, settings))


def gather(
    block: Block,
    hidden: Any,
    settings: Mapping[str, Any],
    statistic: Callable[[int], Statistic],
    *,
    roles: Collection[Role] | None = None,
    run_on: bool = False,
) -> Inputs:
    """Show what a block's linear maps read to new statistics, one sample at a time.

    Args:
        block: with weights.
        hidden: what enters it, shape (num_samples, seq_len, hidden).
        settings: its other inputs.
        statistic: makes an empty statistic for an input of the given size.
        roles: linear maps whose inputs are looked at; None: all.
        run_on: also replace ``hidden`` by what the block makes of it.

    Raises:
        UserError: an input is not finite.
    """
    asked = (
        name
        for role, name in INPUT_OF.items()
        if role in block.linears and (roles is None or role in roles)
    )
    wanted = tuple(dict.fromkeys(asked))
    gathered = {name: statistic(block.reader(name).num_inputs) for name in wanted}
    with showing(block, gathered), torch.no_grad():
        for sample in hidden.split(1):
            if run_on:
                sample.copy_(run_block(block, sample, settings))
            else:
                _run_until_read(block, sample, settings, wanted)
    check_finite(block, gathered)
    return gathered


class _AllReadError(Exception):
    """Everything that was wanted has been read: the rest of the block need not be computed."""


def _run_until_read(
    block: Block, sample: Any, settings: Mapping[str, Any], wanted: Collection[InputName]
) -> None:
    """Run a block as far as what the wanted linear maps read; its output is not needed."""
    missing = set(wanted)

    def read(name: InputName, _module: Any, _args: tuple[Any, ...]) -> None:
        missing.discard(name)
        if not missing:
            raise _AllReadError

    with ExitStack() as hooks:
        for name in wanted:
            hook = block.reader(name).module.register_forward_pre_hook(partial(read, name))
            hooks.callback(hook.remove)
        with suppress(_AllReadError):
            run_block(block, sample, settings)


@contextmanager
def showing(block: Block, statistics: Inputs) -> Iterator[None]:
    """Within it, what passes a block's linear maps is shown to the statistics of their inputs."""
    with ExitStack() as hooks:
        for name, statistic in statistics.items():
            hook = block.reader(name).module.register_forward_pre_hook(partial(_show, statistic))
            hooks.callback(hook.remove)
        yield


def check_finite(block: Block, statistics: Inputs) -> None:
    """Raise UserError if a statistic of a block's inputs has seen a value that is not finite."""
    if broken := [name for name, found in statistics.items() if not found.finite]:
        raise UserError(
            f"block {block.index} of the model computes values that are not finite (at its input "
            f"{broken[0]!r}) on the calibration text: its weights are damaged."
        )


def _show(statistic: Statistic, _module: Any, args: tuple[Any, ...]) -> None:
    statistic.update_(args[0].flatten(0, -2))
