"""Rows in whole tiles, so that no value depends on how many rows are computed beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST", "Rows", "fill", "parts"]

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


@dataclass(frozen=True)
class Rows:
    """Tokens that are computed at once, each attribute of length n.

    Attributes:
        tokens: their numbers.
        positions: of the tokens in their texts.
        sequences: of each token, those it belongs to.
        wanted: 1 for rows whose logits are read.
    """

    tokens: NDArray[np.int32]
    positions: NDArray[np.int32]
    sequences: Sequence[Sequence[int]]
    wanted: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.tokens)


def fill(rows: Rows, *, twin: int) -> Rows:
    """Add rows until they make whole tiles, and want rows until the wanted ones do.

    Args:
        rows: at least one.
        twin: the sequence that the added rows belong to; nothing else may be in it.
    """
    missing = _filling(len(rows))
    wanted = np.append(rows.wanted, np.zeros(missing, dtype=np.int8))
    wanted[np.flatnonzero(wanted == 0)[: _filling(int(wanted.sum()))]] = 1
    return Rows(
        np.append(rows.tokens, rows.tokens[-1:].repeat(missing)),
        np.append(rows.positions, np.arange(missing, dtype=np.int32)),
        [*rows.sequences, *[(twin,)] * missing],
        wanted,
    )


def parts(start: int, end: int) -> list[tuple[int, int]]:
    """Cut rows [start, end) into parts of at most `ROWS`: whole tiles, but for the last."""
    return [(first, min(first + ROWS, end)) for first in range(start, end, ROWS)]


def _filling(rows: int) -> int:
    """How many rows make whole tiles of so many, and enough of them; none are enough of none."""
    return max(FEWEST - rows, -rows % TILE) if rows else 0
