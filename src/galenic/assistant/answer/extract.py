"""Choose the sentences of passages that answer a question, and leave them as they are.

Each sentence counts by what it has of the question, by what its passage has, and less the more it
repeats what was chosen before (maximal marginal relevance, Carbonell and Goldstein 1998).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from galenic.assistant.answer.sentences import cut_sentences, trim
from galenic.assistant.answer.support import Wanted, stems
from galenic.assistant.search.documents.medquad import SOURCES
from galenic.assistant.search.retrieve import Passage

__all__ = ["Choice", "choose"]

MOST = 5
MOST_OF_ONE = 2
"""Sentences of one passage."""
OWN, PASSAGE, TITLE, ASPECT, REPEATS = 1.0, 0.6, 0.4, 0.25, 0.7
"""Weights: the share of the question that the sentence has, its passage with title, the title
alone; what was asked of it (treatment, cause ...); likeness to what was chosen."""
RARE = 0.6
"""A page on a rare disease that the question does not name counts so much less: what is common is
likelier."""
LEAST = 0.5
"""A sentence with less than this share of the best one's worth is left out."""
_ASPECTS = {
    "treat": "treat cure remed help relief reliev medication medicin drug antibiotic",
    "cause": "caus why reason",
    "prevent": "prevent avoid stop",
    "diagnos": "test diagnos check scan exam confirm",
    "symptom": "symptom sign",
    "outlook": "outlook prognosis expect recover dangerous serious",
}
"""What may be asked of a condition: a word of MedQuAD's questions, stems in a person's question."""


@dataclass(frozen=True)
class Choice:
    """A sentence of a passage.

    Attributes:
        text: as it is shown.
        passage: number of its passage, from 0.
        place: of the sentence in it.
        worth: higher is better; comparable within one question.
    """

    text: str
    passage: int
    place: int
    worth: float


def choose(wanted: Wanted, question: str, passages: Sequence[Passage]) -> list[Choice]:
    """The best sentences, those of one passage together and in its order, best passage first."""
    pool = [choice for at, one in enumerate(passages) for choice in _all(wanted, question, at, one)]
    told = {choice: frozenset(stems(choice.text)) for choice in pool}
    chosen: list[Choice] = []
    best = max((choice.worth for choice in pool), default=0.0)
    while pool and len(chosen) < MOST:

        def gain(choice: Choice) -> float:
            likeness = [_likeness(told[choice], told[other]) for other in chosen]
            return choice.worth - REPEATS * max(likeness, default=0.0)

        first = max(pool, key=gain)
        if first.worth <= LEAST * best or first.worth == 0:
            break
        chosen.append(first)
        full = sum(one.passage == first.passage for one in chosen) == MOST_OF_ONE
        pool = [one for one in pool if one != first and not (full and one.passage == first.passage)]
    rank = {one.passage: at for at, one in reversed(list(enumerate(chosen)))}
    return sorted(chosen, key=lambda one: (rank[one.passage], one.place))


def _all(wanted: Wanted, question: str, at: int, passage: Passage) -> list[Choice]:
    """All sentences of a passage that have something of the question."""
    asked = _aspects(question)
    about = asked & _aspects(passage.question)
    whole = wanted.share([stems(f"{passage.title} {passage.text}")])
    title = wanted.share([stems(passage.title)])
    bonus = PASSAGE * whole + TITLE * title + (ASPECT if about else 0.0)
    factor = RARE if _is_rare(passage) and not _names(question, passage.title) else 1.0
    found = []
    for place, sentence in enumerate(cut_sentences(passage.text)):
        text = trim(sentence)
        own = wanted.share([stems(text)]) if text else 0.0
        if own > 0:
            found.append(Choice(text, at, place, factor * (OWN * own + bonus)))
    return found


def _is_rare(passage: Passage) -> bool:
    return passage.source in (SOURCES["GARD"], SOURCES["GHR"])


def _names(question: str, title: str) -> bool:
    """Whether a question has all words of a title."""
    return set(stems(title)) <= set(stems(question))


def _aspects(question: str) -> frozenset[str]:
    said = set(stems(question))
    return frozenset(
        name
        for name, cues in _ASPECTS.items()
        if any(one.startswith(cue) for cue in cues.split() for one in said)
    )


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard's."""
    return len(one & other) / len(one | other) if one | other else 1.0
