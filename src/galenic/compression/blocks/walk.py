"""Block-by-block processing of a model, shared by all methods that fit weights layer by layer.

The calibration text is embedded once. For each block, the weights are loaded, the statistics that
the method asks for are computed on the inputs of the linear layers, the method rewrites the
weights, and the block runs again, so that the next block is fitted to the outputs of the changed
ones before it. Memory holds the activations at one block boundary (``num_samples * seq_len *
hidden_size`` numbers) and the weights of one block.
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
"""Statistics of the inputs of one block's linear layers, by input name."""


def embed(stream: Stream, tokens: Any) -> tuple[Any, list[dict[str, Any]]]:
    """Return the first block's input and every block's other arguments.

    See `galenic.models.forward.embed`.

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
    """For each block in order: load it, gather statistics, rewrite the weights, and run it.

    Args:
        stream: the model.
        tokens: calibration text, shape (num_samples, seq_len), no padding.
        statistic: creates an empty statistic for the given number of inputs.
        rewrite_: changes a block's weights in place, given the statistics of its inputs, and saves
            what it needs, since the block is freed afterwards.
        advance: called after each block with the number of blocks done.
        roles: linear layers whose inputs are gathered; None: all.

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
    """Like `walk`, without changing weights: yield each block's index and input statistics.

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
    """Replace hidden states, shape (num_samples, seq_len, hidden), by the block's output.

    Processes one sample at a time.
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
    """Compute statistics of the inputs of a block's linear layers, one sample at a time.

    Args:
        block: the block, with weights.
        hidden: its input, shape (num_samples, seq_len, hidden).
        settings: its other arguments.
        statistic: creates an empty statistic for the given number of inputs.
        roles: linear layers whose inputs are gathered; None: all.
        run_on: also replace ``hidden`` by the block's output.

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
    """Raised to stop a block's forward pass once all wanted inputs were read."""


def _run_until_read(
    block: Block, sample: Any, settings: Mapping[str, Any], wanted: Collection[InputName]
) -> None:
    """Run a block only until the wanted inputs were computed; its output is discarded."""
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
    """Context in which every forward pass of the block updates the statistics of its inputs."""
    with ExitStack() as hooks:
        for name, statistic in statistics.items():
            hook = block.reader(name).module.register_forward_pre_hook(partial(_show, statistic))
            hooks.callback(hook.remove)
        yield


def check_finite(block: Block, statistics: Inputs) -> None:
    """Raise UserError if any of the statistics has seen a value that is not finite."""
    if broken := [name for name, found in statistics.items() if not found.finite]:
        raise UserError(
            f"block {block.index} of the model computes values that are not finite (at its input "
            f"{broken[0]!r}) on the calibration text: its weights are damaged."
        )


def _show(statistic: Statistic, _module: Any, args: tuple[Any, ...]) -> None:
    statistic.update_(args[0].flatten(0, -2))
