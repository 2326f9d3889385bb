"""Selection of the statements in a handbook entry that answer a question.

Statements are described by rule and features (`consider`) and put into the learned order
(`ranking`). If the question names something that no statement mentions, or an answer is unlikely to
be useful, nothing is returned.
"""

from __future__ import annotations

from typing import NamedTuple

from galenic.assistant.answer.consider import consider
from galenic.assistant.answer.ranking import Ranking, chance, ordered, ranking
from galenic.assistant.answer.reading import QuestionReading
from galenic.assistant.handbook.entry import Entry, Place

__all__ = ["ChosenStatement", "choose"]

MOST, MOST_OF_TWO = 8, 4
"""Maximum number of statements from one entry, and from each of two."""


class ChosenStatement(NamedTuple):
    """A statement selected for the answer: the entry that contains it, and its place there."""

    entry: Entry
    place: Place


def choose(reading: QuestionReading, model: Ranking | None = None) -> list[ChosenStatement]:
    """Return the statements that answer a question, by entry, best first; empty if none do.

    Args:
        reading: the analysed question, from `read_question`.
        model: the learned order; None for that of the package.
    """
    model = model or ranking()
    most = MOST if len(reading.matches) == 1 else MOST_OF_TWO
    found: list[ChosenStatement] = []
    for number, match in enumerate(reading.matches):
        one = consider(match, reading)
        scores = model.scores(one.features)
        if number == 0 and chance(model, one.context, scores) < model.limit:
            return []
        kept = [] if one.refused else ordered(scores, one.stems, match.stems, most)
        found += [ChosenStatement(match.entry, one.places[at]) for at in kept]
    return found
