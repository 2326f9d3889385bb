"""Statistics of a linear layer's inputs, accumulated batch by batch."""

from __future__ import annotations

from typing import Any, Protocol

import torch

__all__ = ["Gram", "SecondMoments", "Statistic"]


STRIPS, STRIP = 8, 192
"""Maximum number of strips that a symmetric sum is computed in, and minimum rows per strip."""


class Statistic(Protocol):
    """A statistic that is updated once with every input vector of a linear layer."""

    num_tokens: int

    @property
    def finite(self) -> bool:
        """False if an input was infinite or NaN, or a sum overflowed."""

    def update_(self, inputs: Any) -> None:
        """Add a batch of inputs, shape (tokens, inputs)."""


class SecondMoments:
    """Sum of squares of each input over all tokens, in float64.

    Args:
        num_inputs: number of columns of the layer's weight.
    """

    def __init__(self, num_inputs: int) -> None:
        self.num_tokens = 0
        self.total = torch.zeros(num_inputs, dtype=torch.float64)

    @property
    def finite(self) -> bool:
        return bool(torch.isfinite(self.total).all())

    def update_(self, inputs: Any) -> None:
        self.num_tokens += inputs.shape[0]
        self.total += inputs.double().square().sum(dim=0)

    @property
    def norms(self) -> Any:
        """L2 norm of each input over all tokens, shape (inputs,)."""
        return self.total.sqrt()

    @property
    def means(self) -> Any:
        """Mean square of each input, shape (inputs,).

        Raises:
            ValueError: no tokens were added.
        """
        if not self.num_tokens:
            raise ValueError("the mean of no tokens")
        return self.total / self.num_tokens


class Gram:
    """Sum over all tokens of the outer product of the inputs, written ``X X^T`` in the papers.

    Args:
        num_inputs: number of columns of the layer's weight; also of rows and columns of the matrix.
        dtype: float32 has an error far below any sensible damping, at half the memory and time of
            float64.
    """

    def __init__(self, num_inputs: int, dtype: Any = torch.float32) -> None:
        self.num_tokens = 0
        self._sum = torch.zeros(num_inputs, num_inputs, dtype=dtype)
        self._mirrored = True
        step = max(STRIP, -(-num_inputs // STRIPS))
        self._strips = [slice(start, start + step) for start in range(0, num_inputs, step)]

    @property
    def total(self) -> Any:
        """The whole matrix, shape (inputs, inputs)."""
        if not self._mirrored:
            for strip in self._strips:
                behind = slice(strip.stop, None)
                self._sum[behind, strip] = self._sum[strip, behind].T
            self._mirrored = True
        return self._sum

    @property
    def finite(self) -> bool:
        return bool(torch.isfinite(self.total).all())

    def update_(self, inputs: Any) -> None:
        self.num_tokens += inputs.shape[0]
        columns = inputs.to(self._sum.dtype)
        for strip in self._strips:  # upper triangle only: the matrix is symmetric
            behind = slice(strip.start, None)
            self._sum[strip, behind].addmm_(columns[:, strip].T, columns[:, behind])
        self._mirrored = False
