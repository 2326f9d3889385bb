"""A text as hashed n-grams: the one way in which the learned classifier sees it.

Words, pairs of words, the first words, and runs of 3 to 5 letters inside words, each hashed to one
of `BUCKETS` columns (Weinberger et al. 2009, https://arxiv.org/abs/0902.2206). Runs of letters see
through misspellings; pairs of words see "can't breathe" and "is it". Used in training and at run
time, so both see the same.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter

__all__ = ["BUCKETS", "Counts", "counts", "tokens"]

BUCKETS = 1 << 18
"""Columns; two n-grams of the corpus rarely share one."""
LETTERS = (3, 4, 5)
"""Lengths of the runs of letters; a word is read with a space at both ends."""
LONGEST_WORD = 30
"""Letters of a word that are read: longer ones are no words."""
OPENING = 3
"""Words at the beginning that count as such: how a text begins tells a question from a call."""
_QUOTES = str.maketrans({"‘": "'", "’": "'", "ʼ": "'", "`": "'", "“": '"', "”": '"'})
_TOKEN = re.compile(r"\d+(?:[.,/]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*|[?!%°↑↓+]")

Counts = dict[int, int]
"""Column to how often."""


def tokens(text: str) -> list[str]:
    """Words, numbers and the signs that carry meaning, in lower case."""
    plain = unicodedata.normalize("NFKC", text).translate(_QUOTES).lower()
    return [token[:LONGEST_WORD] for token in _TOKEN.findall(plain)]


def counts(words: list[str]) -> tuple[Counts, Counts]:
    """The hashed n-grams of a run of tokens: those of words, and those of letters."""
    of_words = Counter(_column("w" + word) for word in words)
    of_words.update(
        _column(f"w{one} {two}") for one, two in zip(words, [*words, "$"][1:], strict=True)
    )
    of_words.update(
        _column("^" + " ".join(words[:size])) for size in range(1, OPENING + 1) if words[size - 1 :]
    )
    of_letters: Counter[int] = Counter()
    for word in words:
        padded = f" {word} "
        for size in LETTERS:
            of_letters.update(
                _column("c" + padded[at : at + size])
                for at in range(max(1, len(padded) - size + 1))
            )
    return of_words, of_letters


def _column(gram: str) -> int:
    return zlib.crc32(gram.encode("utf-8", "surrogatepass")) % BUCKETS
