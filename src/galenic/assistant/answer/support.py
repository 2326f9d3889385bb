"""How well passages carry a question.

Words count by their rarity in the index (inverse document frequency, Spärck Jones 1972), without
endings; what medicine calls a thing counts as the everyday words for it.
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
"""Words of talking about a complaint; they say nothing of which one."""
TALK = frozenset(map(stem, _TALK)) | _TALK
"""The same as stems."""


@dataclass(frozen=True)
class Wanted:
    """What a question asks for.

    Attributes:
        weights: stems of words and phrases to how rare they are; higher is rarer.
        said: for words of medicine that were added, the stems of the question that they stand for.
    """

    weights: Mapping[tuple[str, ...], float]
    said: Mapping[tuple[str, ...], frozenset[str]]

    @property
    def total(self) -> float:
        """Weight of the question's own words."""
        return sum(weight for key, weight in self.weights.items() if key not in self.said)

    def found(self, text: Sequence[str]) -> frozenset[str]:
        """Stems of the question that a text, as stems, has or says in words of medicine."""
        found: set[str] = set()
        for key in self.weights:
            if _stands(key, text):
                found |= self.said.get(key, frozenset(key))
        return frozenset(found)

    def weight(self, found: Iterable[str]) -> float:
        """Of these stems of the question."""
        return sum(self.weights.get((one,), 0.0) for one in set(found))

    def share(self, texts: Iterable[Sequence[str]]) -> float:
        """Share, by weight, of the question that these texts have between them; 0 of nothing."""
        found = frozenset[str]().union(*(self.found(text) for text in texts))
        return self.weight(found) / self.total if self.total else 0.0


def stems(text: str) -> list[str]:
    """The words of a text that count, without endings."""
    return [stem(word) for word in words(text) if word not in STOP_WORDS]


def wanted(question: str, having: Callable[[str], int], size: int) -> Wanted:
    """Weigh the words of a question.

    Args:
        question: in a person's own words.
        having: how many passages have a phrase.
        size: how many passages there are.
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
    return math.log(1 + (size - having + 0.5) / (having + 0.5))


def _stands(key: tuple[str, ...], text: Sequence[str]) -> bool:
    """Whether the words of a phrase stand in a text one behind the other."""
    if len(key) == 1:
        return key[0] in text
    width = len(key)
    return any(tuple(text[at : at + width]) == key for at in range(len(text) - width + 1))
