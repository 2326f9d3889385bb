"""A learned layer of the guards: what reads like the phrases that they were trained on.

Structures know a quantity beside a medicine; this knows how people write: "have one now and its
twin before bed". A linear model over hashed words, pairs of words and runs of letters (Weinberger
et al. 2009, https://arxiv.org/abs/0902.2206), one for questions and one for what is said, trained
by ``tools/train_guards.py`` on phrases written for it, with the handbook as harmless. It only
hides; what the structures hide stays hidden.
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
BUCKETS = 1 << 15
WEIGHTS = Path(__file__).with_name("learned.npz")
LETTERS = 5
"""Letters of a run; runs go across words."""


class Side(NamedTuple):
    """The model of questions or of sentences.

    Attributes:
        table: shape (BUCKETS, kinds), int8.
        scale: what a unit of a column of the table is worth.
        bias: shape (kinds,).
        limit: the probability of harm from which on a text is hidden.
    """

    table: np.ndarray[Any, Any]
    scale: np.ndarray[Any, Any]
    bias: np.ndarray[Any, Any]
    limit: float


def columns(texts: Iterable[Told]) -> list[int]:
    """The columns of a text's sentences, each once."""
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
    """The kind of harm that a text is likely to be; None for harmless.

    Args:
        side: ``asked`` or ``said``.
        texts: its sentences.
    """
    model = _sides()[side]
    chances = probabilities(model, columns(texts))
    if 1 - chances[0] <= model.limit:
        return None
    return KINDS[1 + int(np.argmax(chances[1:]))]


def probabilities(model: Side, found: list[int]) -> np.ndarray[Any, Any]:
    """Of each of `KINDS`."""
    scores = model.table[found].sum(0, dtype=np.int64) * model.scale + model.bias
    raised = np.exp(scores - scores.max())
    return np.asarray(raised / raised.sum())


def write_sides(sides: dict[str, Side], path: Path) -> None:
    """Keep both models in a file."""
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
