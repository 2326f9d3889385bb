"""Two tokenizers on one text: where their tokens end, which pieces they share.

A model whose vocabulary was pruned cuts some words finer than its parent. Both can be compared
where they cut alike, over the pieces that both have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from galenic.runtimes.pieces import piece_bytes

__all__ = ["align", "first_scored", "match_vocabularies", "piece_lengths", "token_ends"]

UNMATCHED = 0.01
"""Share of a model's pieces that its parent may lack: padding and added marks."""


def piece_lengths(pieces: Sequence[str | None]) -> NDArray[np.int64]:
    """Number of bytes of text that each token stands for, shape (vocabulary,)."""
    return np.array([len(found) for found in piece_bytes(pieces)], dtype=np.int64)


def token_ends(
    tokens: Sequence[int], lengths: NDArray[np.int64], num_start: int
) -> NDArray[np.int64]:
    """Bytes of the text up to the end of each token, shape (n,); start tokens stand for none."""
    sizes = lengths[np.asarray(tokens, dtype=np.int64)]
    sizes[:num_start] = 0
    return np.cumsum(sizes)


def match_vocabularies(
    reference: Sequence[str | None], model: Sequence[str | None]
) -> NDArray[np.int64] | None:
    """The reference's id of each of the model's tokens, -1 where it has none; None if unrelated.

    Pieces match by their spelling. Two vocabularies are related when the reference has all of the
    model's pieces but for one in a hundred.
    """
    place: dict[str, int] = {}
    for number, piece in enumerate(reference):
        if piece is not None:
            place.setdefault(piece, number)
    found = np.full(len(model), -1, dtype=np.int64)
    for number, piece in enumerate(model):
        if number < len(reference) and reference[number] == piece and piece is not None:
            found[number] = number  # the same piece may be spelled twice
        elif piece is not None:
            found[number] = place.get(piece, -1)
    named = np.array([piece is not None for piece in model])
    if (found[named] < 0).mean() > UNMATCHED:
        return None
    return found


def first_scored(reference: NDArray[np.int64], model: NDArray[np.int64]) -> tuple[int, int]:
    """The first token of each side that both are scored on: after the first common end.

    Args:
        reference: ends of its tokens, shape (n,).
        model: ends of its tokens on the same text, shape (m,).
    """
    common = np.intersect1d(reference, model)
    if not len(common):
        raise ValueError("the tokens have no end in common")
    return tuple(int(np.searchsorted(ends, common[0])) + 1 for ends in (reference, model))  # type: ignore[return-value]


def align(reference: NDArray[np.int64], model: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows (i, j), shape (k, 2), at which both have read the same text and the next piece is alike.

    Args:
        reference: ends of its tokens, shape (n,).
        model: ends of its tokens on the same text, shape (m,).
    """
    _, rows, columns = np.intersect1d(reference, model, return_indices=True)
    inside = (rows + 1 < len(reference)) & (columns + 1 < len(model))
    rows, columns = rows[inside], columns[inside]
    alike = reference[rows + 1] == model[columns + 1]
    return np.stack([rows[alike], columns[alike]], axis=1)
