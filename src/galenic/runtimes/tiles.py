"""Fill batches to whole tiles, so that no value depends on the size of its batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST", "Rows", "fill", "parts"]

TILE = 4
"""Rows that llama.cpp's multi-row kernels process at once. Remaining rows go to single-row kernels,
which for some types (Q4_0, IQ4_NL, Q4_K and others with interleaved blocks) sum in another order.
With the 8-bit rounding of activations, the differences can exceed half a nat. So batches consist of
whole tiles, filled up with rows whose results are not read."""
FEWEST = 2 * TILE
"""Minimum rows of a batch: a single tile is summed in another order than a tile of a larger one."""
ROWS = 15 * TILE
"""Maximum rows of a batch. Below 64 rows the attention kernel processes the cache cells of a row
one by one and skips those of other texts, so values are bit-identical to those of each request
alone. From 64 rows on it works in tiles, and the position of a text in the cache changes the order
of summation. The limit costs 3 % of the speed at 100 tokens, 15 % at 500 and 24 % at 1000."""


@dataclass(frozen=True)
class Rows:
    """A batch of n tokens; each attribute has length n.

    Attributes:
        tokens: token ids.
        positions: position of each token in its text.
        sequences: sequences (texts in the cache) that each token belongs to.
        wanted: 1 for rows whose logits are needed, else 0.
    """

    tokens: NDArray[np.int32]
    positions: NDArray[np.int32]
    sequences: Sequence[Sequence[int]]
    wanted: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.tokens)


def fill(rows: Rows, *, twin: int) -> Rows:
    """Add rows to fill whole tiles, and mark more rows as wanted until those fill whole tiles too.

    Args:
        rows: at least one row.
        twin: sequence of the added rows; it must be empty.
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
    """Split rows [start, end) into parts of at most `ROWS`; all but the last are whole tiles."""
    return [(first, min(first + ROWS, end)) for first in range(start, end, ROWS)]


def _filling(rows: int) -> int:
    """Number of rows to add to get whole tiles and at least `FEWEST` rows; 0 for no rows."""
    return max(FEWEST - rows, -rows % TILE) if rows else 0
