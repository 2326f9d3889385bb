"""Which weights to remove: masks that are True where the score is among the lowest.

Counts are exact: a share of ``n`` entries is the nearest whole number (half to even), whatever the
scores. Among equal scores the entry with the lower index goes first, so the same scores always give
the same mask.
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
    """How many of so many entries a share is."""
    return round(entries * sparsity)


def lowest_count(scores: Any, count: int) -> Any:
    """Mask of the ``count`` lowest scores of a tensor of any shape."""
    import torch

    flat = torch.zeros(scores.numel(), dtype=torch.bool)
    flat[scores.flatten().argsort(stable=True)[:count]] = True
    return flat.view(scores.shape)


def lowest(scores: Any, sparsity: float) -> Any:
    """Mask of the share ``sparsity`` of a tensor's entries with the lowest scores."""
    return lowest_count(scores, removed_count(scores.numel(), sparsity))


def lowest_per_row(scores: Any, sparsity: float) -> Any:
    """As `lowest`, but sought in each row of scores (rows, columns) apart.

    Rows lose the same number, or, where the share of a row is no whole number, numbers that differ
    by one, so that the count over all rows is exact.
    """
    import torch

    rows, columns = scores.shape
    ends = [removed_count(columns * (row + 1), sparsity) for row in range(rows)]
    counts = torch.tensor([end - start for start, end in pairwise([0, *ends])])
    ranks = scores.argsort(dim=-1, stable=True)
    mask = torch.arange(columns).expand(rows, -1) < counts[:, None]
    return torch.zeros_like(mask).scatter_(-1, ranks, mask)


def lowest_together(scores: Sequence[Any], sparsity: float) -> list[Any]:
    """As `lowest`, over several tensors at once: the lowest of all go, wherever they are."""
    import torch

    sizes = [part.numel() for part in scores]
    mask = lowest(torch.cat([part.flatten() for part in scores]), sparsity)
    return [m.view(part.shape) for m, part in zip(mask.split(sizes), scores, strict=True)]


def lowest_of_groups(scores: Any, keep: int, group: int) -> Any:
    """N:M mask: of each ``group`` neighbouring columns all but the ``keep`` highest are removed.

    Args:
        scores: shape (rows, columns).
        keep: N, how many stay.
        group: M, how many neighbours; must divide the columns.

    Raises:
        ValueError: the group does not divide the columns.
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
