"""Linear text classifier that supplements the phrases and structural checks of the guards.

It detects dangerous content in unusual wording, such as "have one now and its twin before bed".
Features are single words, pairs of words and runs of 5 letters, mapped to a fixed number of columns
by hashing (Weinberger et al. 2009, https://arxiv.org/abs/0902.2206). There is one model for
questions and one for sentences of answers, trained by ``tools/train_guards.py`` on phrases written
for this purpose, with sentences of the handbook as harmless examples. The classifier can only hide
more; it does not overrule the other checks.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from galenic.assistant.guards.told import Told

__all__ = [
    "BUCKETS",
    "KINDS",
    "WEIGHTS",
    "Side",
    "columns",
    "learned_kind",
    "probabilities",
    "write_sides",
]

KINDS = ("harmless", "dose", "reassurance", "self-harm", "stopping")
"""Classes of the model, in the order of its columns; the first is the negative class."""
BUCKETS = 1 << 15
"""Number of feature columns that the hash function maps to."""
WEIGHTS = Path(__file__).with_name("learned.npz")
LETTERS = 5
"""Length of the character n-grams; they extend across word boundaries."""


class Side(NamedTuple):
    """A softmax regression model with quantised weights.

    Attributes:
        table: weights, int8, shape (BUCKETS, kinds).
        scale: factor per class that the int8 weights are multiplied by, shape (kinds,).
        bias: intercept per class, shape (kinds,).
        limit: threshold; a text is hidden if its probability of not being harmless exceeds this.
    """

    table: np.ndarray[Any, Any]
    scale: np.ndarray[Any, Any]
    bias: np.ndarray[Any, Any]
    limit: float


def columns(texts: Iterable[Told]) -> list[int]:
    """Return the indices of the features of a text, sorted and without duplicates.

    Args:
        texts: the sentences of the text, as tokens.

    Returns:
        Integers from 0 to BUCKETS - 1.
    """
    words = ["^"]
    for told in texts:
        words += ["#" if word[0].isdecimal() else word for word in told.tokens]
        words.append(".")
    run = "_".join(words)
    grams = {
        *words,
        *(f"{one} {two}" for one, two in pairwise(words)),
        *(f"{one}  {two}" for one, two in zip(words, words[2:], strict=False)),
        *(f"/{run[at : at + LETTERS]}" for at in range(len(run) - LETTERS + 1)),
    }
    return sorted({zlib.crc32(gram.encode("utf-8", "surrogatepass")) % BUCKETS for gram in grams})


def learned_kind(side: str, texts: Iterable[Told]) -> str | None:
    """Return the most likely kind of dangerous content in a text; None if it is harmless.

    Args:
        side: ``asked`` for questions, ``said`` for sentences of answers.
        texts: the sentences of the text, as tokens.

    Returns:
        One of `KINDS` except ``harmless``.
    """
    model = _sides()[side]
    chances = probabilities(model, columns(texts))
    if 1 - chances[0] <= model.limit:
        return None
    return KINDS[1 + int(np.argmax(chances[1:]))]


def probabilities(model: Side, found: list[int]) -> np.ndarray[Any, Any]:
    """Return the probability of each of `KINDS`, shape (kinds,).

    Args:
        model: the model for this kind of text.
        found: indices of the text's features, from `columns`.
    """
    scores = model.table[found].sum(0, dtype=np.int64) * model.scale + model.bias
    raised = np.exp(scores - scores.max())
    return np.asarray(raised / raised.sum())


def write_sides(sides: dict[str, Side], path: Path) -> None:
    """Save models as a compressed NumPy file, in the format of ``learned.npz``.

    Args:
        sides: the models, by the names ``asked`` and ``said``.
        path: path of the file.
    """
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        f"{name}_{key}": np.asarray(value)
        for name, side in sides.items()
        for key, value in side._asdict().items()
    }
    np.savez_compressed(buffer, **arrays)
    path.write_bytes(buffer.getvalue())


@cache
def _sides() -> dict[str, Side]:
    """Load the models of the package, by the names ``asked`` and ``said``."""
    with np.load(WEIGHTS, allow_pickle=False) as kept:
        return {
            name: Side(
                kept[f"{name}_table"],
                kept[f"{name}_scale"],
                kept[f"{name}_bias"],
                float(kept[f"{name}_limit"]),
            )
            for name in ("asked", "said")
        }
