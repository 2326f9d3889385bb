"""The factor of the inverse Hessian against numpy's."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from galenic.compression.blocks.hessian import inverse_factor  # noqa: E402
from galenic.compression.blocks.statistics import Gram  # noqa: E402
from galenic.errors import UserError  # noqa: E402


def gram(size: int, tokens: int) -> Gram:
    statistic = Gram(size, torch.float64)
    generator = torch.Generator().manual_seed(size)
    statistic.update_(torch.randn(tokens, size, generator=generator, dtype=torch.float64))
    return statistic


@pytest.mark.parametrize("size", [1, 2, 7, 257, 700])
def test_factor_is_cholesky_of_the_inverse(size: int) -> None:
    statistic = gram(size, 2 * size)
    order = torch.randperm(size, generator=torch.Generator().manual_seed(0))
    factor, dead = inverse_factor(statistic, 0.01, order)
    hessian = statistic.total.numpy()[np.ix_(order, order)]
    damped = hessian + 0.01 * hessian.diagonal().mean() * np.eye(size)
    expected = np.linalg.cholesky(np.linalg.inv(damped)).T
    np.testing.assert_allclose(factor.numpy(), expected, rtol=1e-8, atol=1e-10)
    assert not dead.any()


def test_an_input_that_is_always_zero_is_told() -> None:
    statistic = Gram(3, torch.float64)
    statistic.update_(torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, 1.0]], dtype=torch.float64))
    factor, dead = inverse_factor(statistic, 0.01)
    assert dead.tolist() == [False, True, False]
    assert bool(torch.isfinite(factor).all())


def test_what_is_not_positive_definite_is_refused() -> None:
    statistic = Gram(2, torch.float64)
    statistic.total.copy_(torch.tensor([[1.0, 5.0], [5.0, 1.0]], dtype=torch.float64))
    with pytest.raises(UserError, match="Raise it"):
        inverse_factor(statistic, 0.01)
