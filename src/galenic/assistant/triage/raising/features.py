"""Feature extraction for the triage classifier: hashed n-grams of words and characters.

The features are words, word bigrams, the first words of the text, and character 3- to 5-grams
within words, each hashed to one of `BUCKETS` columns (Weinberger et al. 2009,
https://arxiv.org/abs/0902.2206). Character n-grams are robust to misspellings; word bigrams
distinguish phrases such as "can't breathe" and "is it". Training and inference share this module,
so that both see the same features.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter

__all__ = ["BUCKETS", "FEW", "Counts", "counts", "tokens"]

BUCKETS = 1 << 18
"""Number of columns; collisions between n-grams of the training corpus are rare."""
LETTERS = (3, 4, 5)
"""Lengths of the character n-grams; a word is padded with a space at both ends."""
LONGEST_WORD = 30
"""Length in characters to which words are cut."""
OPENING = 3
"""Number of first words used as features, since they often tell a question from a call for help."""
FEW = 6
"""Number of words under which a text says too little for its urgency: it is read for self-harm
alone, and a part of a message is not read by itself."""
_QUOTES = str.maketrans({"‘": "'", "’": "'", "ʼ": "'", "`": "'", "“": '"', "”": '"'})
_TOKEN = re.compile(r"\d+(?:[.,/]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*|[?!%°↑↓+]")

Counts = dict[int, int]
"""Sparse count vector: number of occurrences by column."""


def tokens(text: str) -> list[str]:
    """Split a text into lower-case words, numbers and meaningful signs (``?``, ``!``, ``%``).

    "He isn't answering!" gives ``["he", "isn't", "answering", "!"]``.
    """
    plain = unicodedata.normalize("NFKC", text).translate(_QUOTES).lower()
    return [token[:LONGEST_WORD] for token in _TOKEN.findall(plain)]


def counts(words: list[str], known: dict[str, list[int]] | None = None) -> tuple[Counts, Counts]:
    """Return the counts of hashed word n-grams and of hashed character n-grams, by column.

    Args:
        words: the tokens of a text.
        known: columns of the character n-grams of words seen before, for texts that share words;
            new words are added.
    """
    of_words = Counter(_column("w" + word) for word in words)
    of_words.update(
        _column(f"w{one} {two}") for one, two in zip(words, [*words, "$"][1:], strict=True)
    )
    of_words.update(
        _column("^" + " ".join(words[:size])) for size in range(1, OPENING + 1) if words[size - 1 :]
    )
    of_letters: Counter[int] = Counter()
    known = {} if known is None else known
    for word in words:
        if word not in known:
            known[word] = _of_letters(word)
        of_letters.update(known[word])
    return of_words, of_letters


def _of_letters(word: str) -> list[int]:
    """Return the columns of the character n-grams of a word."""
    padded = f" {word} "
    return [
        _column("c" + padded[at : at + size])
        for size in LETTERS
        for at in range(max(1, len(padded) - size + 1))
    ]


def _column(gram: str) -> int:
    return zlib.crc32(gram.encode("utf-8", "surrogatepass")) % BUCKETS
