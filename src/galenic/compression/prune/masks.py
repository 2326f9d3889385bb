"""Masks of the weights to remove: True where the score is among the lowest.

The number of True entries is exact: the requested fraction of the entries, rounded to the nearest
integer (half to even). Ties are broken in favour of removing the lower index, so masks are
deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

__all__ = [
    "lowest",
    "lowest_count",
    "lowest_of_groups",
    "lowest_per_row",
    "lowest_together",
    "removed_count",
]


def removed_count(entries: int, sparsity: float) -> int:
    """Number of entries to remove for this sparsity."""
    return round(entries * sparsity)


def lowest_count(scores: Any, count: int) -> Any:
    """Mask of the ``count`` lowest scores; the tensor may have any shape."""
    import torch

    flat = torch.zeros(scores.numel(), dtype=torch.bool)
    flat[scores.flatten().argsort(stable=True)[:count]] = True
    return flat.view(scores.shape)


def lowest(scores: Any, sparsity: float) -> Any:
    """Mask of the lowest scores, a fraction ``sparsity`` of all entries."""
    return lowest_count(scores, removed_count(scores.numel(), sparsity))


def lowest_per_row(scores: Any, sparsity: float) -> Any:
    """Like `lowest`, applied to each row of scores (rows, columns) separately.

    All rows lose the same number of entries, up to a difference of one so that the total count
    over all rows is exact.
    """
    import torch

    rows, columns = scores.shape
    ends = [removed_count(columns * (row + 1), sparsity) for row in range(rows)]
    counts = torch.tensor([end - start for start, end in pairwise([0, *ends])])
    ranks = scores.argsort(dim=-1, stable=True)
    mask = torch.arange(columns).expand(rows, -1) < counts[:, None]
    return torch.zeros_like(mask).scatter_(-1, ranks, mask)


def lowest_together(scores: Sequence[Any], sparsity: float) -> list[Any]:
    """Like `lowest`, with one threshold for several tensors; returns a mask for each tensor."""
    import torch

    sizes = [part.numel() for part in scores]
    mask = lowest(torch.cat([part.flatten() for part in scores]), sparsity)
    return [m.view(part.shape) for m, part in zip(mask.split(sizes), scores, strict=True)]


def lowest_of_groups(scores: Any, keep: int, group: int) -> Any:
    """N:M mask: removes all but the ``keep`` highest of each ``group`` adjacent columns.

    Args:
        scores: shape (rows, columns).
        keep: N, number of entries kept per group.
        group: M, group size; must divide the number of columns.

    Raises:
        ValueError: ``group`` does not divide the number of columns.
    """
    rows, columns = scores.shape
    if columns % group:
        raise ValueError(f"{columns} columns cannot be cut into groups of {group}")
    groups = scores.reshape(rows, columns // group, group)
    return _lowest_of_last(groups, group - keep).reshape(rows, columns)


def _lowest_of_last(scores: Any, count: int) -> Any:
    import torch

    mask = torch.zeros(scores.shape, dtype=torch.bool)
    return mask.scatter_(-1, scores.argsort(dim=-1, stable=True)[..., :count], True)
