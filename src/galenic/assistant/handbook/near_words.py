"""Words that are meant for a word of a name: other endings of it, and slips of the pen."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import lru_cache
from itertools import takewhile

__all__ = ["NearWords"]

SAME = 6
"""Letters that two forms of one word begin with: "constipated" and "constipation"."""
SHARE = 0.7
"""Of the shorter one that they must have in common."""
ENDING = 5
"""Letters of an ending, at most."""
SHORTEST = 6
"""Shorter words are too near to others: "couch" to "cough"."""
ALIKE = 0.84
"""Likeness (Ratcliff and Metzener 1988) from which a word is a slip of the pen."""


class NearWords:
    """Finds the word of a name that was meant.

    Args:
        names: words that names have.
        known: stems that are words of their own, and no slips.
    """

    def __init__(self, names: Iterable[str], known: frozenset[str]) -> None:
        self._known = known
        self._by_letter: dict[str, list[str]] = {}
        for word in sorted({one for one in names if len(one) >= SHORTEST}):
            self._by_letter.setdefault(word[0], []).append(word)
        self.near = lru_cache(maxsize=4096)(self._near)

    def _near(self, word: str, stem: str) -> str | None:
        """The word that is meant; None where nothing is near.

        Args:
            word: in lower case, that no name has.
            stem: of it.
        """
        choice = self._by_letter.get(word[:1], [])
        if len(word) < SHORTEST:
            return None
        family = [one for one in choice if _one_family(stem, one)]
        if family:
            return max(family, key=lambda one: (_likeness(word, one), one))
        if stem in self._known or word.endswith(("ing", "ed")):
            return None
        alike = difflib.get_close_matches(word, choice, 1, ALIKE)
        swapped = (one for one in choice if sorted(one) == sorted(word))
        return alike[0] if alike else next(swapped, None)


def _one_family(stem: str, name: str) -> bool:
    pairs = zip(stem, name, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    shared = same >= SAME and same >= SHARE * min(len(stem), len(name))
    return shared and len(stem) - same <= 3 and len(name) - same <= ENDING


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
