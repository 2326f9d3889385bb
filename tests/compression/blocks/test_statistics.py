"""Running sums against loops over all tokens at once."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from galenic.compression.blocks.statistics import Gram, SecondMoments  # noqa: E402


def batches() -> list:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, 5, generator=generator) for size in (3, 1, 7)]


def test_second_moments() -> None:
    statistic = SecondMoments(5)
    for batch in batches():
        statistic.update_(batch)
    rows = [row for batch in batches() for row in batch.tolist()]
    sums = [sum(row[column] ** 2 for row in rows) for column in range(5)]
    assert statistic.num_tokens == 11
    assert statistic.norms.tolist() == pytest.approx([math.sqrt(s) for s in sums])
    assert statistic.means.tolist() == pytest.approx([s / 11 for s in sums])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gram(dtype: object) -> None:
    statistic = Gram(5, dtype)
    for batch in batches():
        statistic.update_(batch)
    rows = [row for batch in batches() for row in batch.tolist()]
    for i in range(5):
        expected = [sum(row[i] * row[j] for row in rows) for j in range(5)]
        assert statistic.total[i].tolist() == pytest.approx(expected, abs=1e-5)
    assert statistic.total.dtype == dtype


def test_a_wide_gram_is_whole_whenever_it_is_looked_at() -> None:
    generator = torch.Generator().manual_seed(0)
    statistic, seen = Gram(500), torch.zeros(0, 500)
    for _ in range(2):
        batch = torch.randn(40, 500, generator=generator)
        statistic.update_(batch)
        seen = torch.cat([seen, batch])
        torch.testing.assert_close(statistic.total, seen.T @ seen)


def test_many_small_terms_do_not_vanish_beside_a_large_one() -> None:
    statistic = SecondMoments(1)
    statistic.update_(torch.full((1, 1), 1e5))  # 1e10 in float32 no longer sees + 1
    for _ in range(1000):
        statistic.update_(torch.ones(1, 1))
    assert statistic.total.item() == 1e10 + 1000


def test_no_tokens_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no tokens"):
        _ = SecondMoments(3).means


@pytest.mark.parametrize("kind", [SecondMoments, Gram])
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_values_that_are_not_finite_are_noticed(kind: type, value: float) -> None:
    statistic = kind(2)
    statistic.update_(torch.ones(2, 2))
    assert statistic.finite
    statistic.update_(torch.tensor([[1.0, value]]))
    assert not statistic.finite
