"""Spelling correction towards known words: misspellings and other inflections."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import takewhile

__all__ = ["NearWords"]

SAME = 6
"""Minimum length of a common prefix of two inflections: "constipated" and "constipation"."""
SHARE = 0.7
"""Minimum length of that prefix as a fraction of the shorter word."""
ENDING = 5
"""Maximum number of letters after that prefix."""
SHORTEST = 6
"""Minimum length of a word; shorter ones resemble too many others, as "couch" and "cough"."""
ALIKE = 0.84
"""Minimum similarity (Ratcliff and Metzener 1988) of a misspelling and the intended word."""
ALIKE_AND_SOUND = 0.75
"""The same for words with equal consonants: "diabeetis"."""
LEAST_SOUND = 3
"""Minimum number of consonants for comparison by consonants."""
_SOUNDS = (("ph", "f"), ("sc", "s"), ("ck", "k"), ("c", "k"), ("q", "k"), ("z", "s"))
"""Spellings of a consonant, and the letter that represents its sound."""
_VOWELS = re.compile(r"[aeiouy]+")
_DOUBLED = re.compile(r"(.)\1+")


class NearWords:
    """Finds the known word that a misspelt or inflected word stands for.

    Examples: "dehydrated" gives "dehydration", and "tonsilitis" gives "tonsillitis".

    Args:
        names: words in names, such as titles; preferred as corrections.
        known: stems of correct words, which are not taken for misspellings.
        others: words that are used as corrections if no name is similar.
    """

    def __init__(
        self, names: Iterable[str], known: frozenset[str], others: Iterable[str] = ()
    ) -> None:
        self._known = known
        self._names, self._others = _by_letter(names), _by_letter(others)
        self.near = lru_cache(maxsize=4096)(self._near)

    def _near(self, word: str, stem: str) -> str | None:
        """Return the correction of a word; None if no known word is similar enough.

        Args:
            word: a lower-case word that occurs in no name.
            stem: its stem.
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
    """Group words of at least `SHORTEST` letters by first letter, sorted."""
    found: dict[str, list[str]] = {}
    for word in sorted({one for one in said if len(one) >= SHORTEST}):
        found.setdefault(word[0], []).append(word)
    return found


def _slip(word: str, choice: Sequence[str]) -> str | None:
    """Return the word of which this is a misspelling or phonetic spelling; None if there is none.

    Args:
        word: the word to correct, in lower case.
        choice: candidate words.
    """
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
    """Return a phonetic key: the first letter and the consonants, with equal sounds unified.

    Example: "pharmacy" gives "phrmk".
    """
    plain = word[1:]
    for written, heard in _SOUNDS:
        plain = plain.replace(written, heard)
    return word[0] + _DOUBLED.sub(r"\1", _VOWELS.sub("", plain))


def _one_family(stem: str, name: str) -> bool:
    """Check whether a stem and a word are inflections of one word, by their common prefix."""
    pairs = zip(stem, name, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    shared = same >= SAME and same >= SHARE * min(len(stem), len(name))
    return shared and len(stem) - same <= 3 and len(name) - same <= ENDING


def _likeness(one: str, other: str) -> float:
    """Return the Ratcliff-Metzener similarity of two words, from 0 to 1."""
    return difflib.SequenceMatcher(None, one, other).ratio()
