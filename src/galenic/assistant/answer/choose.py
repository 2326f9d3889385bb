"""Selection of the statements in a handbook entry that answer a question.

Statements are ranked by their field, which depends on the aspect asked about (`aspects`), and by
the other words of the question: for "Can stress give me hives?" statements that mention stress come
first. If the question names something that no statement mentions, nothing is returned. A short
answer is extended with statements from related fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from galenic.assistant.answer.aspects import Aspect
from galenic.assistant.answer.meanings import says
from galenic.assistant.answer.reading import QuestionReading
from galenic.assistant.handbook.entry import Entry, Place
from galenic.assistant.handbook.topics import Match, halves_of, name_stems

__all__ = ["ChosenStatement", "choose"]

MOST = 6
"""Maximum number of statements from one entry."""
MOST_OF_TWO = 3
"""The same for each of two entries."""
ENOUGH = 6
"""Answers with fewer statements are extended from related fields."""
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
BESIDE = 2
"""Number of statements of the field asked about that are kept although others mention more words of
the question."""
LOOKED = 1.2
"""Bonus for a statement with a word that answers this aspect, such as "catch" for contagion."""
NAMES_ONE = frozenset(("safety", "effects", "food", "uses"))
"""Aspects that relate the topic to one other thing, as in "is wine safe with it"."""
_MOTHERS = frozenset(name_stems("pregnant breastfeeding"))
"""Stems for people that advice for everybody may harm: it is not shown unless it mentions them."""
SAME = 0.6
"""Minimum share of common words for two statements to count as duplicates."""
SHORT = 5
"""Minimum number of distinct words of two statements for them to be compared."""
LEAST = 0.5
"""Minimum score of a statement, as a fraction of the best one's."""
SEVERAL = "several"
"""Group of entries on several things that each have a name of their own, such as operations."""
_ANY = ("what", "help", "uses", "notice")
"""Fields that answer a question if its aspect is unknown or its fields are empty."""
_NUMBER = re.compile(r"\d")
_LIKE = {
    "help": ("uses", "doctor", "what"), "notice": ("effects", "what"),
    "causes": ("effects", "what"),
    "prevent": ("ask_first",), "lasts": ("uses",), "effects": ("notice",),
    "ask_first": ("seek", "help", "prevent", "doctor"), "uses": ("help", "doctor"),
}  # fmt: skip
"""Fields that correspond to a field in entries of the other kind (topic or medicine)."""


@dataclass(frozen=True)
class ChosenStatement:
    """A statement selected for the answer.

    Attributes:
        entry: the entry that contains it.
        place: the statement and its field.
    """

    entry: Entry
    place: Place


def choose(reading: QuestionReading) -> list[ChosenStatement]:
    """Return the statements that answer a question, by entry, best first; empty if none do.

    Args:
        reading: the analysed question, from `read_question`.
    """
    most = MOST if len(reading.matches) == 1 else MOST_OF_TWO
    found: list[ChosenStatement] = []
    for match in reading.matches:
        others = {w for one in reading.matches if one is not match for w in one.stems - match.stems}
        found += _of_entry(match, reading, others, most)
    return found


def _of_entry(
    match: Match, reading: QuestionReading, others: set[str], most: int
) -> list[ChosenStatement]:
    """Return the statements of one entry that answer the question, best first.

    Args:
        match: the entry, and how it matches the question.
        reading: the analysed question.
        others: stems of the question that belong to the other topic, if there are two.
        most: maximum number of statements, before the answer is extended.
    """
    entry = match.entry
    places = _of_test(match, list(entry.places()))
    asked = _asked(entry, reading.aspects)
    worth = _field_worth(places, asked)
    stems = [frozenset(name_stems(place.statement.text)) for place in places]
    rest = {w: n for w, n in reading.rest.items() if w not in others}
    unsaid = any(one.must and not any(one.looked_for & has for has in stems) for one in asked[:1])
    whom = (match.stems | set(rest)) & _MOTHERS
    unsaid |= bool(whom) and not any(whom & has for has in stems)
    if unsaid or _names_no(match, places) or _misses(entry, reading, places, _shares(stems, rest)):
        return []
    told = {
        word: weight
        for word, weight in {**reading.soft, **rest}.items()
        if any(says(word, one) for one in stems)
    }
    hits = _shares(stems, told)
    aside = _other_half(entry, match, stems)
    own = match.stems - set(name_stems(entry.title))
    defines = any(one.id in ("definition", "values") for one in asked[:1]) or not asked
    compares = any(one.id == "comparison" for one in asked)
    later = 0.0 if compares else LATER if defines else LATER_ASIDE
    scores = [
        _worth(place, hit, worth, asked, own, others)
        - (later if place.field == "what" and place != places[0] else 0.0)
        - (OTHER_HALF if of_other else 0.0)
        for place, hit, of_other in zip(places, hits, aside, strict=True)
    ]
    kept = _kept(places, scores, worth, most, stems)
    return [ChosenStatement(entry, places[at]) for at in (*kept, *_next(places, kept, asked))]


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
    has = set(name_stems(place.statement.text))
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
    named = [one for one in places if own <= set(name_stems(one.statement.text))]
    if match.entry.group == SEVERAL and not named:
        named = [one for one in places if own & set(name_stems(one.statement.text))]
    return named if own and named else places


def _own_of_several(match: Match) -> set[str]:
    """Return the stems of the matched name that are not in the title; empty if it is on one thing.

    An entry on blood tests or on operations is on several: "PSA" and "hip replacement" are names of
    a part of it only.
    """
    title = set(name_stems(match.entry.title))
    several = "test" in title or match.entry.group == SEVERAL
    return set(match.stems) - title if several else set()


def _kept(
    places: Sequence[Place],
    scores: Sequence[float],
    worth: dict[str, float],
    most: int,
    stems: Sequence[frozenset[str]],
) -> list[int]:
    """Return the indices of the best statements, and of some in the field asked about.

    Near-duplicates of better statements are left out.

    Args:
        places: the statements and their fields.
        scores: the score of each statement.
        worth: score of each field.
        most: maximum number of statements.
        stems: the stems of each statement.
    """
    best = max(scores, default=0.0)
    ranked = sorted(range(len(places)), key=lambda at: (-scores[at], at))
    order: list[int] = []
    for at in ranked:
        if not any(_same(stems[at], stems[other]) for other in order):
            order.append(at)
    kept = [at for at in order if best > 0 and scores[at] >= LEAST * best][:most]
    room = BESIDE if best > ASKED else 0
    beside = [at for at in order if at not in kept and worth.get(places[at].field) == ASKED]
    return (kept + beside[:room])[:most]


def _same(one: frozenset[str], other: frozenset[str]) -> bool:
    """Check whether two statements, as sets of stems, are near-duplicates."""
    both = one | other
    return len(both) >= SHORT and len(one & other) >= SAME * len(both)


def _next(places: Sequence[Place], kept: Sequence[int], asked: Sequence[Aspect]) -> list[int]:
    """Return the indices of statements from related fields that extend a short answer."""
    fields = asked[0].then if asked else ()
    found: list[int] = []
    for name in fields:
        room = ENOUGH - len(kept) - len(found)
        more = [at for at, one in enumerate(places) if _in_field(one.field, name)]
        found += [at for at in more if at not in kept][: max(0, room)]
    return found


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
    texts = [set(name_stems(place.statement.text)) for place in places]
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
