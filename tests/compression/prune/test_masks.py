"""Masks against plain sorting in Python; counts exact, ties by index."""

from __future__ import annotations

import random

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from galenic.compression.prune.masks import (  # noqa: E402
    lowest,
    lowest_of_groups,
    lowest_per_row,
    lowest_together,
    removed_count,
)


def naive(values: list[float], count: int) -> list[bool]:
    gone = sorted(range(len(values)), key=lambda at: (values[at], at))[:count]
    return [at in gone for at in range(len(values))]


def table(rows: int, columns: int, seed: int) -> list[list[float]]:
    """Few different values, so that many are tied."""
    rng = random.Random(seed)
    return [[float(rng.randrange(6)) for _ in range(columns)] for _ in range(rows)]


@pytest.mark.parametrize(
    ("entries", "sparsity", "count"),
    [(100, 0.29, 29), (10, 0.0, 0), (48, 0.2, 10), (10, 0.999, 10), (7, 0.5, 4), (1000, 0.3, 300)],
)
def test_counts(entries: int, sparsity: float, count: int) -> None:
    assert removed_count(entries, sparsity) == count
    assert int(lowest(torch.rand(entries), sparsity).sum()) == count


@pytest.mark.parametrize("sparsity", [0.0, 0.2, 0.5, 0.9])
def test_masks_equal_sorting(sparsity: float) -> None:
    rows = table(9, 14, seed=1)
    scores = torch.tensor(rows)
    ends = [round(14 * number * sparsity) for number in range(10)]  # exact after every row
    assert lowest_per_row(scores, sparsity).tolist() == [
        naive(row, ends[number + 1] - ends[number]) for number, row in enumerate(rows)
    ]
    flat = [value for row in rows for value in row]
    assert lowest(scores, sparsity).flatten().tolist() == naive(flat, round(9 * 14 * sparsity))
    parts = lowest_together([scores[:4], scores[4:].reshape(10, 7)], sparsity)
    assert [tuple(part.shape) for part in parts] == [(4, 14), (10, 7)]
    joined = torch.cat([part.flatten() for part in parts]).tolist()
    assert joined == naive(flat, round(9 * 14 * sparsity))


@pytest.mark.parametrize(("keep", "group"), [(2, 4), (1, 4), (4, 8), (3, 4), (1, 2)])
def test_groups_equal_sorting(keep: int, group: int) -> None:
    rows = table(5, 16, seed=2)
    expected = [
        [gone for at in range(0, 16, group) for gone in naive(row[at : at + group], group - keep)]
        for row in rows
    ]
    assert lowest_of_groups(torch.tensor(rows), keep, group).tolist() == expected


def test_groups_must_divide() -> None:
    with pytest.raises(ValueError, match="10 columns"):
        lowest_of_groups(torch.rand(2, 10), 2, 4)
