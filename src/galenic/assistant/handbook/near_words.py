"""Words that are meant for a word of a name: other endings of it, and slips of the pen."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
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
ALIKE_AND_SOUND = 0.75
"""The same where both have the same consonants: "diabeetis"."""
LEAST_SOUND = 3
"""Consonants that such words have at least."""
_SOUNDS = (("ph", "f"), ("sc", "s"), ("ck", "k"), ("c", "k"), ("q", "k"), ("z", "s"))
_VOWELS = re.compile(r"[aeiouy]+")
_DOUBLED = re.compile(r"(.)\1+")


class NearWords:
    """Finds the word of a name that was meant.

    Args:
        names: words that names have.
        known: stems that are words of their own, and no slips.
        others: words that may be meant where no name is near.
    """

    def __init__(
        self, names: Iterable[str], known: frozenset[str], others: Iterable[str] = ()
    ) -> None:
        self._known = known
        self._names, self._others = _by_letter(names), _by_letter(others)
        self.near = lru_cache(maxsize=4096)(self._near)

    def _near(self, word: str, stem: str) -> str | None:
        """The word that is meant; None where nothing is near.

        Args:
            word: in lower case, that no name has.
            stem: of it.
        """
        choice = self._names.get(word[:1], [])
        if len(word) >= SHORTEST:
            family = [one for one in choice if _one_family(stem, one)]
            if family:
                slip = _slip(word, choice)
                meant = [*family, slip] if slip else family
                return max(meant, key=lambda one: (_likeness(word, one), one))
        if stem in self._known:
            return None
        return _slip(word, choice) or _slip(word, self._others.get(word[:1], []))


def _by_letter(said: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in sorted({one for one in said if len(one) >= SHORTEST}):
        found.setdefault(word[0], []).append(word)
    return found


def _slip(word: str, choice: Sequence[str]) -> str | None:
    """The word of which this one is a slip of the pen, or is written as it sounds."""
    if len(word) >= SHORTEST and not word.endswith(("ing", "ed")):
        if alike := difflib.get_close_matches(word, choice, 1, ALIKE):
            return alike[0]
        if swapped := next((one for one in choice if sorted(one) == sorted(word)), None):
            return swapped
    sound = _sound(word)
    if len(word) < SHORTEST - 1 or len(sound) < LEAST_SOUND:
        return None
    same = [one for one in choice if _sound(one) == sound and abs(len(one) - len(word)) <= 2]
    best = max(same, key=lambda one: (_likeness(word, one), one), default=None)
    return best if best and _likeness(word, best) >= ALIKE_AND_SOUND else None


@lru_cache(maxsize=16384)
def _sound(word: str) -> str:
    """First letter and consonants of a word, as they sound."""
    plain = word[1:]
    for written, heard in _SOUNDS:
        plain = plain.replace(written, heard)
    return word[0] + _DOUBLED.sub(r"\1", _VOWELS.sub("", plain))


def _one_family(stem: str, name: str) -> bool:
    pairs = zip(stem, name, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    shared = same >= SAME and same >= SHARE * min(len(stem), len(name))
    return shared and len(stem) - same <= 3 and len(name) - same <= ENDING


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
