"""Compute the widths that remain after uniform width pruning, from shapes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from galenic.compression.prune.slice import norms_of
from galenic.errors import UserError
from galenic.models.layers import Block, Sizes

__all__ = ["GGUF_MULTIPLE", "choose_cuts", "removed_share"]

GGUF_MULTIPLE = 32
"""Quantized GGUF types pack rows in blocks of at least 32 numbers; k-quants in blocks of 256."""
ROUNDING = 1e-9


def removed_share(block: Block, before: Sizes, after: Sizes) -> float:
    """Fraction of a block's parameters, including norms and biases, that new widths remove."""
    return 1 - _parameters(block, after) / _parameters(block, before)


def _parameters(block: Block, sizes: Sizes) -> int:
    total = 0
    for linear in block.linears.values():
        outputs, inputs = sizes.shape(linear.role)
        total += outputs * inputs + (outputs if linear.bias is not None else 0)
    wide = norms_of(block)
    for name, parameter in block.module.named_parameters():
        if name.rpartition(".")[0] in wide:
            total += sizes.hidden_size
        elif name.endswith("norm.weight"):  # norm of each head
            total += int(parameter.numel())
    return total


def choose_cuts(
    block: Block,
    sizes: Sizes,
    sparsity: float,
    multiple: int,
    groups: Sequence[int],
    hidden_size: int | None = None,
) -> list[Sizes]:
    """For each number of groups, find the widths that remove ``sparsity`` or slightly more.

    Args:
        block: any block of the model; only its shapes are used.
        sizes: sizes of the model before pruning.
        sparsity: fraction of the block's parameters to remove.
        multiple: the number of remaining feed-forward channels is a multiple of this.
        groups: candidate numbers of key/value groups to remove.
        hidden_size: remaining width of the residual stream; None keeps all of it. Parameters
            removed by it count towards ``sparsity``.

    Returns:
        Sizes after each possible cut, in the order of ``groups``.

    Raises:
        UserError: no cut is possible.
    """
    if multiple > sizes.ffn_size:
        raise UserError(
            f"--ffn-multiple {multiple}: the model has {sizes.ffn_size} feed-forward channels."
        )
    narrow = replace(sizes, hidden_size=hidden_size or sizes.hidden_size)
    channels = [
        *([sizes.ffn_size] if sizes.ffn_size % multiple else []),
        *range(sizes.ffn_size // multiple * multiple, 0, -multiple),
    ]
    queries = sizes.num_heads // sizes.num_kv_heads
    found = []
    for removed in groups:
        kept = sizes.num_kv_heads - removed
        fewer = replace(narrow, num_heads=kept * queries, num_kv_heads=kept)
        options = [replace(fewer, ffn_size=count) for count in channels] if kept > 0 else []
        shares = [removed_share(block, sizes, option) for option in options]
        first = next((n for n, s in enumerate(shares) if s >= sparsity - ROUNDING), None)
        # skip if the groups alone remove more than asked: fewer groups and channels do better
        if first or (first == 0 and (removed == groups[0] or shares[0] <= sparsity + ROUNDING)):
            found.append(options[first])
    if not found:
        raise UserError(
            f"--sparsity {sparsity:g} with --ffn-multiple {multiple}: removing so much of "
            f"{sizes.ffn_size} feed-forward channels and {sizes.num_kv_heads} key/value groups "
            "would leave nothing. Lower one of them."
        )
    return found
