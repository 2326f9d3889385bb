"""Measures of how much of a question a text covers.

Words are stemmed and weighted by inverse document frequency in the index (Spärck Jones 1972).
Medical terms count as the lay words that they stand for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from galenic.assistant.triage.words.wording import word_set
from galenic.retrieval.query import MOST_WORDS, STOP_WORDS, meanings, stem, words

__all__ = ["TALK", "Wanted", "stems", "wanted"]

_TALK = word_set("""
advice afraid anything appointment ask asked bad best better boy bring brother call came care
come concern concerned could dad daughter day days doctor doctors eight especially everyone
everything father feel feeling felt find five four friend girl give giving good gp happen
happened happening hello help hi hospital hour hours how husband information keep kind lately
like look lot make mean meaning means minutes mom month months morning mother much mum need
needs new nhs night nine normal nothing notice noticed now nurse ok okay one partner people
pharmacist please possible problem problems question questions quickly read really recently
right see seem seems serious seven should sick since sister six son soon sort start started sure
take taking talk tell ten thank thanks think thought three time times today tomorrow tonight try
trying two unwell urgent urgently use used usually visit want wanted way week weeks well wife
wonder wondering work worried worry worse would wrong year years yesterday
""")
"""Words of conversation about a complaint, which do not identify it."""
TALK = frozenset(map(stem, _TALK)) | _TALK
"""The same words and their stems."""


@dataclass(frozen=True)
class Wanted:
    """The weighted words of a question.

    Attributes:
        weights: inverse document frequency of each word or phrase, as a tuple of stems.
        said: for medical terms that were added, the stems of the lay words that they stand for.
    """

    weights: Mapping[tuple[str, ...], float]
    said: Mapping[tuple[str, ...], frozenset[str]]

    @property
    def total(self) -> float:
        """Total weight of the question's own words, without added terms."""
        return sum(weight for key, weight in self.weights.items() if key not in self.said)

    def found(self, text: Sequence[str]) -> frozenset[str]:
        """Return the stems of the question that a text contains, directly or as medical terms.

        Args:
            text: the stems of the text, in order.
        """
        found: set[str] = set()
        for key in self.weights:
            if _stands(key, text):
                found |= self.said.get(key, frozenset(key))
        return frozenset(found)

    def weight(self, found: Iterable[str]) -> float:
        """Return the total weight of stems of the question."""
        return sum(self.weights.get((one,), 0.0) for one in set(found))

    def share(self, texts: Iterable[Sequence[str]]) -> float:
        """Return the share of the question, by weight, that texts cover together, from 0 to 1.

        Args:
            texts: the stems of each text, in order.
        """
        found = frozenset[str]().union(*(self.found(text) for text in texts))
        return self.weight(found) / self.total if self.total else 0.0


def stems(text: str) -> list[str]:
    """Return the stems of a text's words, in order, without stop words."""
    return [stem(word) for word in words(text) if word not in STOP_WORDS]


def wanted(question: str, having: Callable[[str], int], size: int) -> Wanted:
    """Return the words of a question with their weights.

    Args:
        question: the question in the user's own words.
        having: returns the number of passages that contain a phrase.
        size: number of passages in the index.
    """
    weights: dict[tuple[str, ...], float] = {}
    spoken = words(question)
    for word in dict.fromkeys(spoken):
        if len(weights) < MOST_WORDS and word not in STOP_WORDS and word not in _TALK:
            weights.setdefault((stem(word),), _rarity(having(word), size))
    said = {}
    for meaning, by in meanings(spoken).items():
        key = tuple(stems(meaning))
        if key and key not in weights:
            said[key] = by
            weights[key] = _rarity(having(meaning), size)
    return Wanted(weights, said)


def _rarity(having: int, size: int) -> float:
    """Return the inverse document frequency, as in BM25, of a phrase in ``having`` passages."""
    return math.log(1 + (size - having + 0.5) / (having + 0.5))


def _stands(key: tuple[str, ...], text: Sequence[str]) -> bool:
    """Check whether a text contains the stems of a phrase consecutively."""
    if len(key) == 1:
        return key[0] in text
    width = len(key)
    return any(tuple(text[at : at + width]) == key for at in range(len(text) - width + 1))
