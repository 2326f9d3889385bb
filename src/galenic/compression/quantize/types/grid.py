"""The levels of ggml's small block types: fitting a scale, rounding to it, and the bytes of a file.

A block is 32 neighbouring values of a row: small whole numbers (codes), one float16 scale and, in
the ``_1`` types, one float16 minimum. What is rounded here is what a file holds, digit for digit:
scales are float16 before anything is rounded with them.

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
"""Values that share a scale in the file."""
REFINEMENTS = 2
"""Least-squares steps after the best scale tried."""


@dataclass(frozen=True)
class Scales:
    """Scale and minimum of groups, float32 tensors of one shape; float16 holds their values."""

    scale: Any
    minimum: Any


@dataclass(frozen=True)
class Grid:
    """The levels of one block type: ``code * scale + minimum``.

    Attributes:
        type: ggml's name.
        bits: of a code.
        lowest: smallest code; the file stores codes from 0 on, but for Q8_0.
        highest: largest code.
        shifted: whether blocks have a minimum; without, it is 0.
        codes: all of them in ascending order, where they are not simply the whole numbers from
            ``lowest`` to ``highest``; the file then stores a code's place among them.
    """

    type: str
    bits: int
    lowest: int
    highest: int
    shifted: bool
    codes: tuple[int, ...] = ()

    def fit(self, values: Any, importance: Any) -> Scales:
        """The scale of each row with the least weighted squared error, of many tried.

        Args:
            values: shape (rows, size): what shares a scale.
            importance: of the error of each column, shape (size,), positive.

        Returns:
            Scales of shape (rows, 1).

        Raises:
            UserError: values too large for a float16 scale.
        """
        import torch

        values, importance = values.float(), importance.float()
        scales = [_half(pair) for pair in self._candidates(values)]
        best, least = scales[0], self._error(values, scales[0], importance)
        for tried in scales:
            best, least = self._better(values, importance, best, least, tried)
            if self.shifted:  # the largest and smallest value may be best given up on one side
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
        """The code nearest to each value; shapes broadcast."""
        import torch

        step = scales.scale.masked_fill(scales.scale == 0, 1)
        found = (values - scales.minimum) / step
        if not self.codes:
            return found.round_().clamp_(self.lowest, self.highest)
        codes = torch.tensor(self.codes, dtype=found.dtype)
        return codes[torch.bucketize(found, (codes[1:] + codes[:-1]) / 2)]

    def values(self, codes: Any, scales: Scales) -> Any:
        """What ggml reads from codes, exactly: the sum is rounded once, to float32."""
        return (codes.double() * scales.scale + scales.minimum).float()

    def _candidates(self, values: Any) -> Iterator[Scales]:
        """Scales around the one that just holds the largest value."""
        import torch

        if self.shifted:
            low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
            for share in torch.linspace(1.05, 0.7, 8).tolist():
                width = share * (high - low)
                for cut in (0.0, 0.5, 1.0):  # how much of what is given up lies below
                    yield Scales(width / self.highest, low + cut * (high - low - width))
            return
        extreme = values.gather(1, values.abs().argmax(1, keepdim=True))
        nothing = torch.zeros_like(extreme)
        for reach in torch.linspace(0.85, 1.25, 9).tolist() if self.bits < 8 else [1.0]:
            yield Scales(extreme / (reach * self.lowest), nothing)  # one more code on this side
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
        """The best scale and minimum for the codes that the given scales lead to."""
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
"""ggml's ``kvalues_iq4nl``: closer together where weights are many."""

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
"""Type name to grid, smaller ones first."""


def _half(scales: Scales) -> Scales:
    return Scales(_half_of(scales.scale), _half_of(scales.minimum))


def _half_of(tensor: Any) -> Any:
    return tensor.half().float()


@dataclass(frozen=True)
class PlannedMatrix:
    """A matrix rounded to a grid, not in bytes yet.

    Attributes:
        grid: its levels.
        codes: shape (rows, columns).
        scales: shape (rows, groups); the groups share the columns equally.
    """

    grid: Grid
    codes: Any
    scales: Scales

    def values(self) -> Any:
        """What a reader of the file gets: float32, shape (rows, columns)."""
        rows, groups = self.scales.scale.shape
        wide = Scales(self.scales.scale[..., None], self.scales.minimum[..., None])
        return self.grid.values(self.codes.reshape(rows, groups, -1), wide).reshape(rows, -1)

    def encode(self) -> NDArray[np.uint8]:
        """The bytes of the type, shape (rows, bytes of a row)."""
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
        """The numbers that the file has for the codes."""
        codes: NDArray[Any] = self.codes.numpy()
        if self.grid.codes:
            return np.searchsorted(self.grid.codes, codes)
        return codes - (0 if self.grid.bits == 8 else self.grid.lowest)


def _half_bytes(numbers: Any, repeats: int) -> NDArray[np.uint8]:
    """Float16 of each group, once for every block, shape (rows, blocks, 2)."""
    halves = np.repeat(numbers.numpy().astype("<f2"), repeats, axis=1)
    return halves[..., None].view(np.uint8)
