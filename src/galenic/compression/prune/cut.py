"""How much of each width a uniform cut leaves: the arithmetic, without weights or scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from galenic.compression.prune.slice import norms_of
from galenic.errors import UserError
from galenic.models.layers import Block, Sizes

__all__ = ["GGUF_MULTIPLE", "choose_cuts", "removed_share"]

GGUF_MULTIPLE = 32
"""Every quantized GGUF type packs rows in blocks of 32 numbers at least; k-quants in 256."""
ROUNDING = 1e-9


def removed_share(block: Block, before: Sizes, after: Sizes) -> float:
    """Share of a block's parameters, norms and biases included, that other widths take away."""
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
        elif name.endswith("norm.weight"):  # of the heads
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
    """Every cut that removes the share asked for, or as little more as the multiple allows.

    Args:
        block: any of the model; only its shapes are used.
        sizes: of the model as it is.
        sparsity: share of the block's parameters to remove.
        multiple: the feed-forward channels that stay are a multiple of this.
        groups: numbers of key/value groups that may be removed.
        hidden_size: of the residual stream that stays; None for all of it. What it takes counts
            towards ``sparsity``.

    Returns:
        the widths after each cut, in the order of ``groups``; of those that are possible.

    Raises:
        UserError: none is possible.
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
        # Where whole groups take much more than was asked, fewer groups and more channels fit.
        if first or (first == 0 and (removed == groups[0] or shares[0] <= sparsity + ROUNDING)):
            found.append(options[first])
    if not found:
        raise UserError(
            f"--sparsity {sparsity:g} with --ffn-multiple {multiple}: removing so much of "
            f"{sizes.ffn_size} feed-forward channels and {sizes.num_kv_heads} key/value groups "
            "would leave nothing. Lower one of them."
        )
    return found
