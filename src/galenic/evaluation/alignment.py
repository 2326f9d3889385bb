"""Alignment of two tokenizers on one text: common token boundaries and common tokens.

A model with a pruned vocabulary splits some words into smaller tokens than its parent. The two can
be compared where their token boundaries agree, over the tokens that both have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from galenic.runtimes.pieces import piece_bytes

__all__ = ["align", "first_scored", "match_vocabularies", "piece_lengths", "token_ends"]

UNMATCHED = 0.01
"""Share of a model's tokens that its parent may lack (padding and added special tokens)."""


def piece_lengths(pieces: Sequence[str | None]) -> NDArray[np.int64]:
    """Return the number of text bytes of each token, shape (vocabulary,)."""
    return np.array([len(found) for found in piece_bytes(pieces)], dtype=np.int64)


def token_ends(
    tokens: Sequence[int], lengths: NDArray[np.int64], num_start: int
) -> NDArray[np.int64]:
    """Return the byte offset at which each token ends, shape (n,); start tokens have length 0."""
    sizes = lengths[np.asarray(tokens, dtype=np.int64)]
    sizes[:num_start] = 0
    return np.cumsum(sizes)


def match_vocabularies(
    reference: Sequence[str | None], model: Sequence[str | None]
) -> NDArray[np.int64] | None:
    """Map each token of the model to the reference's id, or -1; None if unrelated.

    Tokens match by their text. Two vocabularies are related if the reference has at least 99 % of
    the model's tokens.
    """
    place: dict[str, int] = {}
    for number, piece in enumerate(reference):
        if piece is not None:
            place.setdefault(piece, number)
    found = np.full(len(model), -1, dtype=np.int64)
    for number, piece in enumerate(model):
        if number < len(reference) and reference[number] == piece and piece is not None:
            found[number] = number  # several ids may have the same text
        elif piece is not None:
            found[number] = place.get(piece, -1)
    named = np.array([piece is not None for piece in model])
    if (found[named] < 0).mean() > UNMATCHED:
        return None
    return found


def first_scored(reference: NDArray[np.int64], model: NDArray[np.int64]) -> tuple[int, int]:
    """Return, for each side, the index of the token after the first common token boundary.

    Args:
        reference: end offsets of the reference's tokens, shape (n,).
        model: end offsets of the model's tokens on the same text, shape (m,).
    """
    common = np.intersect1d(reference, model)
    if not len(common):
        raise ValueError("the tokens have no end in common")
    return tuple(int(np.searchsorted(ends, common[0])) + 1 for ends in (reference, model))  # type: ignore[return-value]


def align(reference: NDArray[np.int64], model: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return index pairs (i, j), shape (k, 2), with equal text so far and an equal next token.

    Args:
        reference: end offsets of the reference's tokens, shape (n,).
        model: end offsets of the model's tokens on the same text, shape (m,).
    """
    _, rows, columns = np.intersect1d(reference, model, return_indices=True)
    inside = (rows + 1 < len(reference)) & (columns + 1 < len(model))
    rows, columns = rows[inside], columns[inside]
    alike = reference[rows + 1] == model[columns + 1]
    return np.stack([rows[alike], columns[alike]], axis=1)
