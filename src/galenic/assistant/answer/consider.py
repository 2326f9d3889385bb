"""Description of the statements of an entry for the learned order: a score by rule, and features.

The rule scores statements by their field, which depends on the aspect asked about (`aspects`), and
by the other words of the question: for "Can stress give me hives?" statements that mention stress
score higher.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

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
NAMED, BOTH, LOOKED = 1.2, 1.0, 1.2
"""Bonuses for a statement with the name that matched the question, if the title lacks it; with the
second topic of a question about two; with a word that answers this aspect ("catch", contagion)."""
NAMES_ONE = frozenset(("safety", "effects", "food", "uses"))
"""Aspects that relate the topic to one other thing, as in "is wine safe with it"."""
_MOTHERS = frozenset(name_stems("pregnant breastfeeding"))
"""Stems for people that advice for everybody may harm: it is not shown unless it mentions them."""
_CHILD, _PREGNANT, _OLDER, _ADULT = (
    frozenset(name_stems(one))
    for one in ("child baby toddler teenager newborn", "pregnant unborn", "older elderly", "adult")
)
_PEOPLE = (
    (_CHILD, _PREGNANT | _OLDER | _ADULT), (_PREGNANT, _OLDER), (_OLDER | _ADULT, _CHILD),
)  # fmt: skip
"""Stems for people, and for the others whose statements do not answer a question about them."""
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


class Considered(NamedTuple):
    """The statements of an entry, described for the learned order.

    Attributes:
        places: the statements and their fields; ``stems`` are the stems of each.
        features: the features of each statement, shape (n, 12), by `ranking.FEATURES`.
        context: the features of question and entry, by `ranking.CONTEXT`, without the last.
        refused: whether a rule forbids an answer, as none mentions what is asked.
    """

    places: list[Place]
    stems: list[frozenset[str]]
    features: np.ndarray[Any, Any]
    context: tuple[float, ...]
    refused: bool


class _Seen(NamedTuple):
    """An entry beside a question: aspects, score of each field, words of the other topic, rest."""

    match: Match
    reading: QuestionReading
    places: list[Place]
    stems: list[frozenset[str]]
    asked: list[Aspect]
    worth: dict[str, float]
    others: set[str]
    rest: dict[str, float]


def consider(match: Match, reading: QuestionReading) -> Considered:
    """Describe the statements of one entry for the learned order.

    Args:
        match: the entry, and how it matches the question.
        reading: the analysed question.
    """
    others = {w for one in reading.matches if one is not match for w in one.stems - match.stems}
    places = _of_people(match, reading, _of_test(match, list(match.entry.places())))
    asked = _asked(match.entry, reading.aspects)
    worth = _field_worth(places, asked)
    stems = [_stems(place.statement.text) for place in places]
    rest = {w: n for w, n in reading.rest.items() if w not in others}
    seen = _Seen(match, reading, places, stems, asked, worth, others, rest)
    misses = _misses(match.entry, reading, places, _shares(stems, rest))
    refused = _unsaid(seen) or _names_no(match, places) or misses
    return Considered(places, stems, _features(seen), _context(seen, misses=misses), refused)


def _unsaid(seen: _Seen) -> bool:
    """Check whether something must be mentioned and is not: a missed dose, or a pregnancy."""
    must = [one.looked_for for one in seen.asked[:1] if one.must]
    must += [whom] if (whom := (seen.match.stems | set(seen.rest)) & _MOTHERS) else []
    return any(not any(one & has for has in seen.stems) for one in must)


def _features(seen: _Seen) -> np.ndarray[Any, Any]:
    """Return the features of each statement, shape (n, 12), in the order of `ranking.FEATURES`."""
    topic, said, stems = seen.match.stems, seen.reading.said, seen.stems
    beside = [w for w in said if w not in topic and not w.isdigit()]
    named = {w: said[w] for w in beside if w not in TALK}
    met = {w: sum(says(w, has) for has in stems) for w in beside}
    in_entry = {w: math.log((len(stems) + 1) / (n + 0.5)) for w, n in met.items() if n}
    particular = max((w for w in named if met[w]), key=lambda w: named[w], default=None)
    fields = [place.field for place in seen.places]
    numbers = any(one.numbers for one in seen.asked[:2])
    aside = _other_half(seen.match.entry, seen.match, stems)
    rule = _rule_scores(seen)
    rows = [
        (
            rule[at] - (OTHER_HALF if aside[at] else 0.0),
            any(one.looked_for & has for one in seen.asked[:1]),
            seen.worth.get(place.field) == ASKED,
            math.log(len(words(place.statement.text)) or 1) / 3,
            len(topic & has) / max(1, len(topic)),
            at == 0,
            fields.index(place.field) == at,
            numbers and bool(_NUMBER_WORD.search(place.statement.text)),
            particular is not None and says(particular, has),
            sum(n for w, n in named.items() if w in has) / (sum(named.values()) or 1),
            sum(n for w, n in in_entry.items() if says(w, has)) / (sum(in_entry.values()) or 1),
            aside[at],
        )
        for at, (place, has) in enumerate(zip(seen.places, stems, strict=True))
    ]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(FEATURES))


def _context(seen: _Seen, *, misses: bool) -> tuple[float, ...]:
    """Return the features of question and entry, by `ranking.CONTEXT`, without the last."""
    match, rest = seen.match, seen.rest
    strange = [rest[word] for word in rest if word in seen.reading.strange]
    title = set(name_stems(match.entry.title))
    met = sum(n for word, n in rest.items() if any(says(word, one) for one in seen.stems))
    return (
        float(match.weak),
        float(misses),
        len(strange) / 3,
        sum(strange) / 10,
        match.score / 8,
        len(title & match.stems) / max(1, len(title)),
        sum(seen.worth.get(place.field) == ASKED for place in seen.places) / 5,
        met / sum(rest.values()) if rest else 1.0,
        len(seen.reading.said) / 8,
    )


@cache
def _stems(text: str) -> frozenset[str]:
    """Return the stems of a statement."""
    return frozenset(name_stems(text))


def _rule_scores(seen: _Seen) -> list[float]:
    """Return the score of each statement by the rule, from its field and the words it mentions."""
    asked, stems = seen.asked, seen.stems
    words_left = {**seen.reading.soft, **seen.rest}
    told = {w: n for w, n in words_left.items() if any(says(w, one) for one in stems)}
    own = seen.match.stems - set(name_stems(seen.match.entry.title))
    defines = any(one.id in ("definition", "values") for one in asked[:1]) or not asked
    compares = any(one.id == "comparison" for one in asked)
    later = 0.0 if compares else LATER if defines else LATER_ASIDE
    scores = []
    for place, has, hit in zip(seen.places, stems, _shares(stems, told), strict=True):
        number = bool(_NUMBER.search(place.statement.text))
        looked = sum(bool(one.looked_for & has) or (one.numbers and number) for one in asked[:2])
        scores.append(
            seen.worth.get(place.field, 0.0)
            + (REST * hit if hit >= HIT else 0.0)
            + LOOKED * looked
            + (NAMED if own and own <= has else 0.0)
            + (BOTH if seen.others and seen.others <= has else 0.0)
            - (later if place.field == "what" and place != seen.places[0] else 0.0)
        )
    return scores


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


def _of_people(match: Match, reading: QuestionReading, places: list[Place]) -> list[Place]:
    """Return the statements without those on other people than asked about, except warnings.

    Example: asked of a child, "Adults can take paracetamol and ibuprofen together".
    """
    said = {*reading.said, *name_stems(match.entry.title)}
    apart = [(own, others) for own, others in _PEOPLE if said & own and not said & others]
    return [
        one
        for one in places
        if _warns(one) or not any(
            _stems(one.statement.text) & others and not _stems(one.statement.text) & own
            for own, others in apart
        )
    ]  # fmt: skip


def _warns(place: Place) -> bool:
    """Check whether a statement says when to get help, or whom to ask first."""
    return place.field == "ask_first" or place.field.startswith("seek.")


def _own_of_several(match: Match) -> set[str]:
    """Return the stems of the matched name, less the title's, if the entry is on several things.

    Empty for others. In an entry on blood tests "PSA" is the name of a part of it only.
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
    """Return the score of each field for the aspects asked about; by default the first filled."""
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
