"""Rows in whole tiles, so that no value depends on how many rows are computed beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST", "fill", "parts"]

TILE = 4
"""Rows that the kernels for many rows take at once. What is left over, llama.cpp gives to kernels
for one row; those of some types (Q4_0, IQ4_NL, Q4_K and others whose blocks it interleaves) sum in
another order, which the 8-bit rounding of activations turns into differences of up to half a nat
and more. So rows come in whole tiles, filled up with rows of a text that nobody reads."""
FEWEST = 2 * TILE
"""Four rows alone are summed in another order than four of eight or more."""
ROWS = 15 * TILE
"""Rows computed at once. Below 64 the attention kernel takes the cells of a row one by one and
skips those of other texts, so that a value is, bit for bit, what its request alone would give. From
64 on it works in tiles: then the place of a text in the cache changes the order of summation. The
price is 3 % of the speed at 100 tokens, 15 % at 500 and 24 % at 1000."""


def fill(
    tokens: NDArray[np.int32],
    positions: NDArray[np.int32],
    sequences: Sequence[Sequence[int]],
    wanted: NDArray[np.int8],
    *,
    twin: int,
) -> tuple[NDArray[np.int32], NDArray[np.int32], Sequence[Sequence[int]], NDArray[np.int8]]:
    """Add rows until they make whole tiles, and want rows until the wanted ones do.

    Args:
        tokens, positions, sequences, wanted: of the rows, each of length n.
        twin: the sequence that the added rows belong to; nothing else may be in it.
    """
    missing = _filling(len(tokens))
    if missing:
        tokens = np.append(tokens, tokens[-1:].repeat(missing))
        positions = np.append(positions, np.arange(missing, dtype=np.int32))
        sequences = [*sequences, *[(twin,)] * missing]
        wanted = np.append(wanted, np.zeros(missing, dtype=np.int8))
    wanted = wanted.copy()
    wanted[np.flatnonzero(wanted == 0)[: _filling(int(wanted.sum()))]] = 1
    return tokens, positions, sequences, wanted


def parts(start: int, end: int) -> list[tuple[int, int]]:
    """Cut rows [start, end) into parts of at most `ROWS`: whole tiles, but for the last."""
    return [(first, min(first + ROWS, end)) for first in range(start, end, ROWS)]


def _filling(rows: int) -> int:
    """How many rows make whole tiles of so many, and enough of them; none are enough of none."""
    return max(FEWEST - rows, -rows % TILE) if rows else 0
