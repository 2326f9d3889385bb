"""Block types of 32 weights: fit scales, round to the levels, and encode in ggml's format.

A block is 32 adjacent values of a row, stored as small integers (codes), one float16 scale and, in
the ``_1`` types, one float16 minimum. Scales are rounded to float16 before codes are computed, so
the values computed here are exactly those that the file represents.

Format: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError

__all__ = ["BLOCK", "GRIDS", "Grid", "PlannedMatrix", "Scales"]

BLOCK = 32
"""Number of values that share a scale in the file."""
REFINEMENTS = 2
"""Number of least-squares refinements of the best scale."""


@dataclass(frozen=True)
class Scales:
    """Scales and minima of groups: float32 tensors of the same shape, exact in float16."""

    scale: Any
    minimum: Any


@dataclass(frozen=True)
class Grid:
    """The levels of one block type: ``code * scale + minimum``.

    Attributes:
        type: name of the type in ggml.
        bits: number of bits of a code.
        lowest: smallest code; except for Q8_0, the file stores codes minus ``lowest``.
        highest: largest code.
        shifted: whether blocks have a minimum; otherwise it is 0.
        codes: all codes in ascending order, if they are not all integers from ``lowest`` to
            ``highest``; the file then stores the index of a code in this list.
    """

    type: str
    bits: int
    lowest: int
    highest: int
    shifted: bool
    codes: tuple[int, ...] = ()

    def fit(self, values: Any, importance: Any) -> Scales:
        """Search for the scale of each row with the least weighted squared error.

        Args:
            values: shape (rows, size); each row shares a scale.
            importance: weight of the squared error of each column, shape (size,), positive.

        Returns:
            Scales of shape (rows, 1).

        Raises:
            UserError: values are too large for a float16 scale.
        """
        import torch

        values, importance = values.float(), importance.float()
        scales = [_half(pair) for pair in self._candidates(values)]
        best, least = scales[0], self._error(values, scales[0], importance)
        for tried in scales:
            best, least = self._better(values, importance, best, least, tried)
            if self.shifted:  # clipping values on one side only may be best
                fitted = self._least_squares(values, importance, tried)
                best, least = self._better(values, importance, best, least, fitted)
        for _ in range(REFINEMENTS):
            tried = self._least_squares(values, importance, best)
            best, least = self._better(values, importance, best, least, tried)
        if not bool(torch.isfinite(least).all()):
            raise UserError(
                f"weights up to {float(values.abs().max()):g} are too large for {self.type}, whose "
                "scales end at 65504."
            )
        return best

    def round(self, values: Any, scales: Scales) -> Any:
        """Return the code nearest to each value; shapes broadcast."""
        import torch

        step = scales.scale.masked_fill(scales.scale == 0, 1)
        found = (values - scales.minimum) / step
        if not self.codes:
            return found.round_().clamp_(self.lowest, self.highest)
        codes = torch.tensor(self.codes, dtype=found.dtype)
        return codes[torch.bucketize(found, (codes[1:] + codes[:-1]) / 2)]

    def values(self, codes: Any, scales: Scales) -> Any:
        """Return the values of codes exactly as ggml computes them: rounded once, to float32."""
        return (codes.double() * scales.scale + scales.minimum).float()

    def _candidates(self, values: Any) -> Iterator[Scales]:
        """Yield candidate scales around the one that just covers the largest value."""
        import torch

        if self.shifted:
            low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
            for share in torch.linspace(1.05, 0.7, 8).tolist():
                width = share * (high - low)
                for cut in (0.0, 0.5, 1.0):  # fraction of the clipped range at the low end
                    yield Scales(width / self.highest, low + cut * (high - low - width))
            return
        extreme = values.gather(1, values.abs().argmax(1, keepdim=True))
        nothing = torch.zeros_like(extreme)
        for reach in torch.linspace(0.85, 1.25, 9).tolist() if self.bits < 8 else [1.0]:
            yield Scales(extreme / (reach * self.lowest), nothing)  # one code more on this side
            yield Scales(extreme / (reach * self.highest), nothing)

    def _error(self, values: Any, scales: Scales, importance: Any) -> Any:
        codes = self.round(values, scales)
        difference = codes.mul_(scales.scale).add_(scales.minimum).sub_(values)
        return (difference.square_() @ importance)[:, None]

    def _better(
        self, values: Any, importance: Any, best: Scales, least: Any, tried: Scales
    ) -> tuple[Scales, Any]:
        import torch

        error = self._error(values, tried, importance)
        better = error < least
        chosen = Scales(
            torch.where(better, tried.scale, best.scale),
            torch.where(better, tried.minimum, best.minimum),
        )
        return chosen, torch.where(better, error, least)

    def _least_squares(self, values: Any, importance: Any, scales: Scales) -> Scales:
        """Return the optimal scale and minimum for the codes obtained with the given scales."""
        import torch

        codes = self.round(values, scales)
        weighted = codes * importance
        total, squares = importance.sum(), (weighted * codes).sum(1, keepdim=True)
        first, value = weighted.sum(1, keepdim=True), (values @ importance)[:, None]
        product = (weighted * values).sum(1, keepdim=True)
        if not self.shifted:
            scale = torch.where(squares > 0, product / squares, scales.scale)
            return _half(Scales(scale, scales.minimum))
        determinant = total * squares - first.square()
        scale = (total * product - first * value) / determinant
        scale = _half_of(torch.where(determinant > 0, scale, scales.scale))
        return _half(Scales(scale, (value - scale * first) / total))


_UNEVEN = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
"""ggml's ``kvalues_iq4nl``: levels are denser near zero, where most weights lie."""

GRIDS = {
    grid.type: grid
    for grid in (
        Grid("IQ4_NL", 4, -127, 113, shifted=False, codes=_UNEVEN),
        Grid("Q4_0", 4, -8, 7, shifted=False),
        Grid("Q4_1", 4, 0, 15, shifted=True),
        Grid("Q5_0", 5, -16, 15, shifted=False),
        Grid("Q5_1", 5, 0, 31, shifted=True),
        Grid("Q8_0", 8, -127, 127, shifted=False),
    )
}
"""Grids by type name, from small to large."""


def _half(scales: Scales) -> Scales:
    return Scales(_half_of(scales.scale), _half_of(scales.minimum))


def _half_of(tensor: Any) -> Any:
    return tensor.half().float()


@dataclass(frozen=True)
class PlannedMatrix:
    """A matrix rounded to a grid, not encoded yet.

    Attributes:
        grid: the levels.
        codes: code of each weight, shape (rows, columns).
        scales: scales of groups of equal size, shape (rows, groups).
    """

    grid: Grid
    codes: Any
    scales: Scales

    def values(self) -> Any:
        """Return the dequantized values as read from the file, float32 (rows, columns)."""
        rows, groups = self.scales.scale.shape
        wide = Scales(self.scales.scale[..., None], self.scales.minimum[..., None])
        return self.grid.values(self.codes.reshape(rows, groups, -1), wide).reshape(rows, -1)

    def encode(self) -> NDArray[np.uint8]:
        """Encode in ggml's format; returns bytes of shape (rows, bytes per row)."""
        rows, columns = self.codes.shape
        repeats = columns // BLOCK // self.scales.scale.shape[1]
        codes = self._stored().astype(np.int8).reshape(rows, -1, BLOCK)
        parts: list[NDArray[Any]] = [_half_bytes(self.scales.scale, repeats)]
        if self.grid.shifted:
            parts.append(_half_bytes(self.scales.minimum, repeats))
        if self.grid.bits == 5:
            parts.append(np.packbits(codes >> 4, axis=-1, bitorder="little"))
        if self.grid.bits == 8:
            parts.append(codes.view(np.uint8))
        else:
            low = codes.view(np.uint8) & 15
            parts.append(low[..., : BLOCK // 2] | low[..., BLOCK // 2 :] << 4)
        return np.concatenate(parts, axis=-1).reshape(rows, -1)

    def _stored(self) -> NDArray[Any]:
        """Return the numbers that represent the codes in the file."""
        codes: NDArray[Any] = self.codes.numpy()
        if self.grid.codes:
            return np.searchsorted(self.grid.codes, codes)
        return codes - (0 if self.grid.bits == 8 else self.grid.lowest)


def _half_bytes(numbers: Any, repeats: int) -> NDArray[np.uint8]:
    """Bytes of the float16 value of each group, repeated for its blocks; (rows, blocks, 2)."""
    halves = np.repeat(numbers.numpy().astype("<f2"), repeats, axis=1)
    return halves[..., None].view(np.uint8)
