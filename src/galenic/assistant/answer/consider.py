"""Description of the statements of an entry for the learned order: a score by rule, and features.

The rule scores statements by their field, which depends on the aspect asked about (`aspects`), and
by the other words of the question: for "Can stress give me hives?" statements that mention stress
score higher.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from galenic.assistant.answer.aspects import Aspect
from galenic.assistant.answer.meanings import says
from galenic.assistant.answer.ranking import FEATURES
from galenic.assistant.answer.reading import QuestionReading
from galenic.assistant.answer.support import TALK
from galenic.assistant.handbook.entry import Entry, Place
from galenic.assistant.handbook.topics import Match, halves_of, name_stems
from galenic.retrieval.query import words

__all__ = ["Considered", "consider"]

OTHER_HALF = 0.5
"""Deduction for a statement about only the other half of a title such as "Sprains and strains"."""
LATER, LATER_ASIDE = 0.3, 0.6
"""Deductions for statements of the field ``what`` after the first, which is the definition: if a
definition is asked for, and if something else is."""
HIT = 0.3
"""Minimum share of the other words of the question, by weight, for a statement to mention them."""
ASKED, ALSO_ASKED, REST = 1.0, 0.6, 1.4
"""Scores for a statement in the field of the first aspect asked about, for one in the field of the
second, and factor on the share of the other words."""
NAMED = 1.2
"""Bonus for a statement with the name that matched the question, if the title lacks it."""
BOTH = 1.0
"""Bonus for a statement that mentions the second topic of a question about two."""
LOOKED = 1.2
"""Bonus for a statement with a word that answers this aspect, such as "catch" for contagion."""
NAMES_ONE = frozenset(("safety", "effects", "food", "uses"))
"""Aspects that relate the topic to one other thing, as in "is wine safe with it"."""
_MOTHERS = frozenset(name_stems("pregnant breastfeeding"))
"""Stems for people that advice for everybody may harm: it is not shown unless it mentions them."""
SEVERAL = "several"
"""Group of entries on several things that each have a name of their own, such as operations."""
_ANY = ("what", "help", "uses", "notice")
"""Fields that answer a question if its aspect is unknown or its fields are empty."""
_NUMBER = re.compile(r"\d")
_NUMBER_WORD = re.compile(
    r"\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|twelve|half|quarter|once|twice)\b", re.I
)
_LIKE = {
    "help": ("uses", "doctor", "what"), "notice": ("effects", "what"),
    "causes": ("effects", "what"),
    "prevent": ("ask_first",), "lasts": ("uses",), "effects": ("notice",),
    "ask_first": ("seek", "help", "prevent", "doctor"), "uses": ("help", "doctor"),
}  # fmt: skip
"""Fields that correspond to a field in entries of the other kind (topic or medicine)."""


@dataclass(frozen=True)
class Considered:
    """The statements of an entry, described for the learned order.

    Attributes:
        match: the entry, and how it matches the question.
        places: the statements and their fields.
        stems: the stems of each statement.
        features: the features of each statement, shape (n, 12), by `ranking.FEATURES`.
        context: the features of question and entry, by `ranking.CONTEXT`, without the last.
        refused: whether a rule forbids an answer, as none mentions what is asked.
    """

    match: Match
    places: tuple[Place, ...]
    stems: tuple[frozenset[str], ...]
    features: np.ndarray[Any, Any]
    context: tuple[float, ...]
    refused: bool


def consider(match: Match, reading: QuestionReading) -> Considered:
    """Describe the statements of one entry for the learned order.

    Args:
        match: the entry, and how it matches the question.
        reading: the analysed question.
    """
    others = {w for one in reading.matches if one is not match for w in one.stems - match.stems}
    places = _of_test(match, list(match.entry.places()))
    asked = _asked(match.entry, reading.aspects)
    worth = _field_worth(places, asked)
    stems = [_stems(place.statement.text) for place in places]
    rest = {w: n for w, n in reading.rest.items() if w not in others}
    misses = _misses(match.entry, reading, places, _shares(stems, rest))
    refused = _unsaid(match, asked, stems, rest) or _names_no(match, places) or misses
    aside = _other_half(match.entry, match, stems)
    rule = _rule_scores(match, reading, places, asked, worth, others, rest, aside)
    features = _features(match, reading, places, asked, worth, rule, aside)
    context = _context(match, reading, places, worth, rest, stems, misses=misses)
    return Considered(match, tuple(places), tuple(stems), features, context, refused)


def _unsaid(
    match: Match,
    asked: Sequence[Aspect],
    stems: Sequence[frozenset[str]],
    rest: Mapping[str, float],
) -> bool:
    """Check whether something must be mentioned and is not: a missed dose, or a pregnancy."""
    unsaid = any(one.must and not any(one.looked_for & has for has in stems) for one in asked[:1])
    whom = (match.stems | set(rest)) & _MOTHERS
    return unsaid or (bool(whom) and not any(whom & has for has in stems))


def _rule_scores(
    match: Match,
    reading: QuestionReading,
    places: Sequence[Place],
    asked: Sequence[Aspect],
    worth: dict[str, float],
    others: set[str],
    rest: Mapping[str, float],
    aside: Sequence[bool],
) -> list[float]:
    """Return the score of each statement by the rule.

    Args:
        match: the entry, and how it matches the question.
        reading: the analysed question.
        places: the statements and their fields.
        asked: the aspects asked about.
        worth: score of each field.
        others: stems of the question that belong to the other topic, if there are two.
        rest: weights of the other words of the question.
        aside: whether each statement is only about the half of a title not asked about.
    """
    stems = [_stems(place.statement.text) for place in places]
    told = {
        word: weight
        for word, weight in {**reading.soft, **rest}.items()
        if any(says(word, one) for one in stems)
    }
    own = match.stems - set(name_stems(match.entry.title))
    defines = any(one.id in ("definition", "values") for one in asked[:1]) or not asked
    compares = any(one.id == "comparison" for one in asked)
    later = 0.0 if compares else LATER if defines else LATER_ASIDE
    return [
        _worth(place, hit, worth, asked, own, others)
        - (later if place.field == "what" and place != places[0] else 0.0)
        - (OTHER_HALF if of_other else 0.0)
        for place, hit, of_other in zip(places, _shares(stems, told), aside, strict=True)
    ]


def _features(
    match: Match,
    reading: QuestionReading,
    places: Sequence[Place],
    asked: Sequence[Aspect],
    worth: dict[str, float],
    rule: Sequence[float],
    aside: Sequence[bool],
) -> np.ndarray[Any, Any]:
    """Return the features of each statement, shape (n, 12), in the order of `ranking.FEATURES`."""
    stems = [_stems(place.statement.text) for place in places]
    beside = [w for w in reading.said if w not in match.stems and not w.isdigit()]
    named = {w: reading.said[w] for w in beside if w not in TALK}
    met = {w: sum(says(w, has) for has in stems) for w in beside}
    in_entry = {w: math.log((len(places) + 1) / (n + 0.5)) for w, n in met.items() if n}
    particular = max((w for w in named if met[w]), key=lambda w: named[w], default=None)
    fields = [place.field for place in places]
    numbers = any(one.numbers for one in asked[:2])
    rows = [
        (
            rule[at],
            any(one.looked_for & has for one in asked[:1]),
            worth.get(place.field) == ASKED,
            math.log(len(words(place.statement.text)) or 1) / 3,
            len(match.stems & has) / max(1, len(match.stems)),
            at == 0,
            fields.index(place.field) == at,
            numbers and bool(_NUMBER_WORD.search(place.statement.text)),
            particular is not None and says(particular, has),
            sum(n for w, n in named.items() if w in has) / (sum(named.values()) or 1),
            sum(n for w, n in in_entry.items() if says(w, has)) / (sum(in_entry.values()) or 1),
            aside[at],
        )
        for at, (place, has) in enumerate(zip(places, stems, strict=True))
    ]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(FEATURES))


def _context(
    match: Match,
    reading: QuestionReading,
    places: Sequence[Place],
    worth: dict[str, float],
    rest: Mapping[str, float],
    stems: Sequence[frozenset[str]],
    *,
    misses: bool,
) -> tuple[float, ...]:
    """Return the features of question and entry, by `ranking.CONTEXT`, without the last."""
    strange = [rest[word] for word in rest if word in reading.strange]
    title = set(name_stems(match.entry.title))
    met = sum(n for word, n in rest.items() if any(says(word, one) for one in stems))
    return (
        float(match.weak),
        float(misses),
        len(strange) / 3,
        sum(strange) / 10,
        match.score / 8,
        len(title & match.stems) / max(1, len(title)),
        sum(worth.get(place.field) == ASKED for place in places) / 5,
        met / sum(rest.values()) if rest else 1.0,
        len(reading.said) / 8,
    )


@cache
def _stems(text: str) -> frozenset[str]:
    """Return the stems of a statement."""
    return frozenset(name_stems(text))


def _worth(
    place: Place,
    hit: float,
    worth: dict[str, float],
    asked: Sequence[Aspect],
    own: frozenset[str] | set[str],
    others: set[str],
) -> float:
    """Return the score of a statement as an answer.

    Args:
        place: the statement and its field.
        hit: share of the other words of the question that it mentions, from 0 to 1.
        worth: score of each field.
        asked: the aspects asked about.
        own: stems of the matched name that are not in the title.
        others: stems of the question that belong to the other topic.
    """
    has = _stems(place.statement.text)
    looked = sum(
        bool(one.looked_for & has) or (one.numbers and bool(_NUMBER.search(place.statement.text)))
        for one in asked[:2]
    )
    return (
        worth.get(place.field, 0.0)
        + (REST * hit if hit >= HIT else 0.0)
        + LOOKED * looked
        + (NAMED if own and own <= has else 0.0)
        + (BOTH if others and others <= has else 0.0)
    )


def _other_half(entry: Entry, match: Match, stems: Sequence[frozenset[str]]) -> list[bool]:
    """Return for each statement whether it is only about the half of a title not asked about."""
    halves = [frozenset(name_stems(one)) for one in halves_of(entry.title)]
    asked = [one for one in halves if one & match.stems]
    other = [one for one in halves if not one & match.stems]
    if len(asked) != 1 or not other:
        return [False for _ in stems]
    own = asked[0] & match.stems
    return [bool(other[0] & one) and not own & one for one in stems]


def _of_test(match: Match, places: list[Place]) -> list[Place]:
    """Return the statements on the test or thing asked about, if the entry is on several."""
    own = _own_of_several(match)
    named = [one for one in places if own <= _stems(one.statement.text)]
    if match.entry.group == SEVERAL and not named:
        named = [one for one in places if own & _stems(one.statement.text)]
    return named if own and named else places


def _own_of_several(match: Match) -> set[str]:
    """Return the stems of the matched name that are not in the title; empty if it is on one thing.

    An entry on blood tests or on operations is on several: "PSA" and "hip replacement" are names of
    a part of it only.
    """
    title = set(name_stems(match.entry.title))
    several = "test" in title or match.entry.group == SEVERAL
    return set(match.stems) - title if several else set()


def _in_field(field: str, name: str) -> bool:
    """Check whether a field is, or is part of, the named one: ``seek.today`` is in ``seek``."""
    return field == name or field.startswith(f"{name}.")


def _asked(entry: Entry, aspects: Sequence[Aspect]) -> list[Aspect]:
    """Return up to two aspects that apply to this kind of entry, the most important first."""
    medicine = entry.kind == "medicine"
    fitting = [one for one in aspects if one.medicine == medicine or len(aspects) == 1]
    asked = fitting or list(aspects)
    asked = [one for one in asked if not one.alone] or asked
    long = [one for one in aspects if one.id == "persistent"]
    if asked and asked[0].id == "seek" and long:
        return [*long, asked[0]]
    if asked and asked[0].id == "seek":
        asked = [one for one in asked[:2] if one.id in ("seek", "symptoms")]
    return asked[:2]


def _field_worth(places: Sequence[Place], asked: Sequence[Aspect]) -> dict[str, float]:
    """Return the score of each field for the aspects asked about.

    Of an aspect's fields only the first that is not empty counts, unless the aspect uses all.
    """
    full = {place.field for place in places}
    found: dict[str, float] = {}
    for number, aspect in enumerate(asked):
        value = ASKED if number == 0 else ALSO_ASKED
        for name in _expanded(aspect.fields):
            fields = [one for one in full if _in_field(one, name)]
            for field in fields:
                found[field] = max(found.get(field, 0.0), value)
            if fields and not aspect.every:
                break
        for field in set(aspect.also) & full if len(asked) == 1 else ():
            found.setdefault(field, ALSO_ASKED)
    if not found:
        for name in (*(asked[0].then if asked else ()), *_ANY):
            if name in full:
                found.setdefault(name, ASKED if not found else ALSO_ASKED)
    return found


def _expanded(fields: Sequence[str]) -> Iterator[str]:
    """Yield the fields, then those that correspond to them in entries of the other kind."""
    yield from fields
    for name in fields:
        yield from _LIKE.get(name, ())


def _shares(stems: Sequence[frozenset[str]], rest: dict[str, float]) -> list[float]:
    """Return for each statement the share of the words in ``rest`` that it mentions, by weight."""
    whole = sum(rest.values())
    if not whole:
        return [0.0 for _ in stems]
    return [sum(n for word, n in rest.items() if says(word, one)) / whole for one in stems]


def _names_no(match: Match, places: Sequence[Place]) -> bool:
    """Check whether one of several things in an entry is asked about that no statement mentions."""
    own = _own_of_several(match)
    texts = [_stems(place.statement.text) for place in places]
    if match.entry.group == SEVERAL:
        return bool(own) and not any(own & text for text in texts)
    return bool(own) and not any(own <= text for text in texts)


def _misses(
    entry: Entry, reading: QuestionReading, places: Sequence[Place], hits: Sequence[float]
) -> bool:
    """Check whether the question relates the topic to something that the entry does not mention.

    Example: "Is milk good for reflux?", if no statement mentions milk.
    """
    if not reading.rest:
        return False
    asked = {one.id for one in reading.aspects if not one.alone}
    if entry.kind == "topic" and asked and not (asked <= NAMES_ONE):
        return False
    if entry.kind == "medicine" and asked and not asked & NAMES_ONE:
        return False
    skips = {"what"} if entry.kind == "medicine" else frozenset[str]()
    return (
        max((hit for p, hit in zip(places, hits, strict=True) if p.field not in skips), default=0.0)
        < HIT
    )
