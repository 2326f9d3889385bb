"""From the entry that is meant to the statements that answer: by what was asked, and by the rest.

The fields come from what was asked (`aspects`). What the question says besides topic and asking
words ("stress" in "Can stress give me hives?") is looked for in the statements: those that have it
come first, and where the question names something that no statement has, there is no answer. The
statement that answers best comes first; a short answer goes on with what is asked next.
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
"""Statements of one entry that are shown."""
MOST_OF_TWO = 3
"""Of each entry where two are meant."""
ENOUGH = 4
"""Where fewer statements answer, some of the fields that are asked next follow."""
OTHER_HALF = 0.5
"""What a statement is worth less that is only on the half of a title that was not asked for."""
LATER, LATER_ASIDE = 0.3, 0.6
"""What a later statement on what it is is worth less than the definition, which is the first; and
where something else is asked."""
HIT = 0.3
"""Share of the rest of a question from which a statement speaks of it."""
ASKED, ALSO_ASKED, REST = 1.0, 0.6, 1.4
NAMED = 1.2
"""For a statement with the very name by which the entry was found, where the title has it not."""
BOTH = 1.0
"""For a statement on the other topic, where two are meant."""
BESIDE = 2
"""Statements of the asked field that stand beside those that speak of the rest of the question."""
LOOKED = 1.2
"""For a statement with a word that answers this kind of question, such as "catch"."""
NAMES_ONE = frozenset(("safety", "effects", "food", "uses"))
"""What is asked of one thing: is milk good for it, is wine safe with it."""
SAME = 0.6
"""Share of the words of two statements that both have, from which they say nearly the same."""
SHORT = 5
"""Statements with fewer words between them are too short to tell."""
LEAST = 0.5
"""Statements with less than this share of the best one's worth are left out."""
_ANY = ("what", "help", "uses", "notice")
_NUMBER = re.compile(r"\d")
_LIKE = {
    "help": ("uses", "doctor", "what"), "notice": ("effects", "what"),
    "causes": ("effects", "what"),
    "prevent": ("ask_first",), "lasts": ("uses",), "effects": ("notice",),
    "ask_first": ("seek", "help", "prevent", "doctor"), "uses": ("help", "doctor"),
}  # fmt: skip
"""Where the other kind of entry says what is asked of one."""


@dataclass(frozen=True)
class ChosenStatement:
    """A statement that is shown, and the entry and field that it is from."""

    entry: Entry
    place: Place


def choose(reading: QuestionReading) -> list[ChosenStatement]:
    """The statements that answer, entry by entry, the best first; empty when none does."""
    most = MOST if len(reading.matches) == 1 else MOST_OF_TWO
    found: list[ChosenStatement] = []
    for match in reading.matches:
        others = {w for one in reading.matches if one is not match for w in one.stems - match.stems}
        found += _of_entry(match, reading, others, most)
    return found


def _of_entry(
    match: Match, reading: QuestionReading, others: set[str], most: int
) -> list[ChosenStatement]:
    entry = match.entry
    places = _of_test(match, list(entry.places()))
    asked = _asked(entry, reading.aspects)
    worth = _field_worth(places, asked)
    stems = [frozenset(name_stems(place.statement.text)) for place in places]
    rest = {w: n for w, n in reading.rest.items() if w not in others}
    unsaid = any(one.must and not any(one.looked_for & has for has in stems) for one in asked[:1])
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
    later = LATER if defines else LATER_ASIDE
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
    """What a statement is worth as an answer."""
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
    """Which statements are only on the half of a title that was not asked for."""
    halves = [frozenset(name_stems(one)) for one in halves_of(entry.title)]
    asked = [one for one in halves if one & match.stems]
    other = [one for one in halves if not one & match.stems]
    if len(asked) != 1 or not other:
        return [False for _ in stems]
    own = asked[0] & match.stems
    return [bool(other[0] & one) and not own & one for one in stems]


def _of_test(match: Match, places: list[Place]) -> list[Place]:
    """Of one test of many, the statements on it; else all."""
    title = set(name_stems(match.entry.title))
    own = match.stems - title
    named = [one for one in places if own <= set(name_stems(one.statement.text))]
    return named if "test" in title and own and named else places


def _kept(
    places: Sequence[Place],
    scores: Sequence[float],
    worth: dict[str, float],
    most: int,
    stems: Sequence[frozenset[str]],
) -> list[int]:
    """The best statements, and behind them a few of the field that was asked; each said once."""
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
    """Whether two statements say nearly the same."""
    both = one | other
    return len(both) >= SHORT and len(one & other) >= SAME * len(both)


def _next(places: Sequence[Place], kept: Sequence[int], asked: Sequence[Aspect]) -> list[int]:
    """What follows a short answer: the first statements of the fields that are asked next."""
    fields = asked[0].then if asked else ()
    found: list[int] = []
    for name in fields:
        room = ENOUGH - len(kept) - len(found)
        more = [at for at, one in enumerate(places) if _in_field(one.field, name)]
        found += [at for at in more if at not in kept][: max(0, room)]
    return found


def _in_field(field: str, name: str) -> bool:
    return field == name or field.startswith(f"{name}.")


def _asked(entry: Entry, aspects: Sequence[Aspect]) -> list[Aspect]:
    """What is asked of this kind of entry, the first one first."""
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
    """What a field is worth for what was asked; a later field only where those before are empty."""
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
    """The fields, then what stands for them in an entry of the other kind."""
    yield from fields
    for name in fields:
        yield from _LIKE.get(name, ())


def _shares(stems: Sequence[frozenset[str]], rest: dict[str, float]) -> list[float]:
    """Share of the rest of the question, by rarity, that each statement has."""
    whole = sum(rest.values())
    if not whole:
        return [0.0 for _ in stems]
    return [sum(n for word, n in rest.items() if says(word, one)) / whole for one in stems]


def _names_no(match: Match, places: Sequence[Place]) -> bool:
    """Whether one test of many is asked about, and no statement is on it."""
    title = set(name_stems(match.entry.title))
    own = match.stems - title
    texts = (set(name_stems(place.statement.text)) for place in places)
    return "test" in title and bool(own) and not any(own <= text for text in texts)


def _misses(
    entry: Entry, reading: QuestionReading, places: Sequence[Place], hits: Sequence[float]
) -> bool:
    """Whether one thing is asked about ("milk", a second medicine) that the entry does not name."""
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
