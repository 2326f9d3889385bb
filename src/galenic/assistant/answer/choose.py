"""From the entry that is meant to the statements that answer: by what was asked, and by the rest.

The fields come from what was asked (`aspects`). What the question says besides topic and asking
words ("stress" in "Can stress give me hives?") is looked for in the statements: those that have it
come first, and where the question names something that no statement has, there is no answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from galenic.assistant.answer.aspects import Aspect, asked_aspects, asking_stems
from galenic.assistant.answer.support import TALK
from galenic.assistant.handbook.entry import Entry, Place
from galenic.assistant.handbook.topics import Match, Topics, halves_of, name_stems
from galenic.assistant.triage.people import ages_in_months
from galenic.assistant.triage.wording import sentences, word_set
from galenic.retrieval.query import STOP_WORDS, words

__all__ = ["Reading", "Said", "choose", "read_question"]

MOST = 5
"""Statements of one entry that are shown."""
MOST_OF_TWO = 3
"""Of each entry where two are meant."""
LEAST_COVER = 0.6
"""Share of a name, by rarity, that a question must have for the topic to be meant."""
LEAST_SCORE = 1.4
MILD = 0.4
"""What a describing word weighs among those that no entry has."""
FOREIGN, FOREIGN_TITLE, FOREIGN_WEAK = 0.8, 0.4, 1.5
"""The name's words must weigh this share of the words that the entry does not have; less where the
question has a whole title, more where the name is an everyday word such as "cut"."""
SECOND = 0.55
"""Share of the best topic's score from which a second one is meant as well."""
TITLED = 0.5
"""A topic whose whole title is asked for comes first from this share of the best score."""
HIT = 0.3
"""Share of the rest of a question from which a statement speaks of it."""
ASKED, ALSO_ASKED, REST = 1.0, 0.6, 1.4
NAMED = 0.6
"""For a statement with the very name by which the entry was found, where the title has it not."""
BESIDE = 2
"""Statements of the asked field that stand beside those that speak of the rest of the question."""
LOOKED = 1.0
"""For a statement with a word that answers this kind of question, such as "catch"."""
ADULT_MONTHS = 16 * 12
LEAST = 0.5
"""Statements with less than this share of the best one's worth are left out."""
_ANY = ("what", "help", "uses", "notice")
_SILENT = word_set("""
mmol unit mg ml mcg kg cm litr liter per percent degre enough many someth anyth normally real
actually first low high matter finish versu vs carry till quit kind sort bit lot suddenly plea
pls year old month week
""")
"""Stems that say nothing of the topic: units and talk."""
_ANY_DISEASE = word_set("""
mental heart kidney liver lung skin chronic common disease gum
""")
_LIKE = {
    "help": ("uses", "doctor", "what"), "notice": ("effects", "what"),
    "causes": ("effects", "what"),
    "prevent": ("ask_first",), "lasts": ("what", "uses"), "effects": ("notice",),
    "ask_first": ("seek", "help", "prevent", "doctor"), "uses": ("help", "doctor"),
}  # fmt: skip
"""Where the other kind of entry says what is asked of one."""


@dataclass(frozen=True)
class Said:
    """A statement that is shown, and the entry and field that it is from."""

    entry: Entry
    place: Place


@dataclass(frozen=True)
class Reading:
    """What a question means.

    Attributes:
        matches: the topics that are meant, one or two; empty when none fits.
        near: the nearest topics, whether or not they fit.
        aspects: what is asked.
        rest: stems of the question besides topic and asking words, to their rarity.
        foreign: stems of the question that no entry has.
    """

    matches: tuple[Match, ...]
    near: tuple[Match, ...]
    aspects: tuple[Aspect, ...]
    rest: dict[str, float]
    foreign: frozenset[str]


def read_question(known: Topics, question: str) -> Reading:
    """Which topics a question means, what it asks of them, and what it says besides."""
    aspects = asked_aspects(question)
    question = f"{question} child" if _of_a_child(question) else question
    said = name_stems(question)
    ranked = known.find(question, weak=asking_stems())
    silent = asking_stems() | TALK | _SILENT
    plain = [w for w in said if w not in silent and not w.isdigit() and len(w) > 1]
    foreign = frozenset(word for word in plain if not known.knows(word))
    meant = _meant(known, ranked, aspects, plain, _diseases(question))
    named = frozenset[str]().union(*(one.stems for one in meant))
    rest = {word: known.rarity(word) for word in plain if word not in named}
    return Reading(meant, tuple(ranked[:3]), aspects, rest, foreign)


def _of_a_child(question: str) -> bool:
    """Whether an age below 16 is named: "my 3 year old" is a child, without the word."""
    tokens = [sentence.tokens for sentence in sentences(question)]
    return any(months < ADULT_MONTHS for one in tokens for _, months in ages_in_months(one))


def choose(reading: Reading) -> list[Said]:
    """The statements that answer, entry by entry in reading order; empty when none does."""
    most = MOST if len(reading.matches) == 1 else MOST_OF_TWO
    found: list[Said] = []
    for match in reading.matches:
        others = {w for one in reading.matches if one is not match for w in one.stems - match.stems}
        found += _of_entry(match, reading, others, most)
    return found


def _meant(
    known: Topics,
    ranked: Sequence[Match],
    aspects: Sequence[Aspect],
    plain: Sequence[str],
    diseases: frozenset[str],
) -> tuple[Match, ...]:
    """The best topic if it fits, and a second one that the question names as well."""

    silent = asking_stems() | TALK | _SILENT

    def fits(match: Match) -> bool:
        if match.cover < LEAST_COVER or match.score < LEAST_SCORE or diseases - match.stems:
            return False
        if not match.titled and match.stems <= silent:
            return False
        strange = [w for w in plain if w not in match.stems and not known.explains(match.entry, w)]
        weight = sum(known.rarity(word) for word in match.stems)
        whole = match.titled and match.cover > 0.99
        allowed = weight / (FOREIGN_WEAK if match.weak else FOREIGN_TITLE if whole else FOREIGN)
        return sum(known.rarity(w) * _heft(known, w) for w in strange) <= allowed

    fitting = [one for one in ranked[:8] if fits(one)]
    if not fitting:
        return ()
    medicines = [one for one in fitting if one.entry.kind == "medicine" and one.titled]
    asks_medicine = any(one.medicine for one in aspects)
    titled = [one for one in fitting if one.titled and one.cover > 0.99 and not one.weak]
    if asks_medicine and medicines:
        first = medicines[0]
    else:
        first = _preferred(fitting, titled, asks_medicine=asks_medicine)
    asks_of_first = any(one.id in ("cause", "safety", "effects") for one in aspects)
    for other in fitting:
        named = other.cover > 0.99 and (other.titled or len(other.stems) > 1)
        apart = (
            named
            and not other.stems & first.stems
            and not (
                asks_of_first and all(known.explains(first.entry, word) for word in other.stems)
            )
        )
        if apart and other.score >= SECOND * first.score and other.entry.kind == first.entry.kind:
            return (first, other)
    return (first,)


def _heft(known: Topics, word: str) -> float:
    """Less for a word that no entry has and that may only describe: "horribly", "stinky"."""
    return MILD if word.endswith(("ly", "y", "ful", "ish")) and not known.knows(word) else 1


def _preferred(fitting: Sequence[Match], titled: Sequence[Match], *, asks_medicine: bool) -> Match:
    """The best one, but for a whole title, and a complaint where no medicine is asked about."""
    best = fitting[0]
    topics = [one for one in fitting if one.entry.kind == "topic" and one.cover > 0.99]
    if best.entry.kind == "medicine" and not asks_medicine and not best.titled and topics:
        return topics[0]
    near = [one for one in titled if one.score >= TITLED * best.score]
    if near and not best.titled and not near[0].stems < best.stems:
        return near[0]
    return best


def _diseases(question: str) -> frozenset[str]:
    """Stems of the word before "syndrome" and the like: a disease must be the topic itself."""
    said = [word for word in words(question) if word not in STOP_WORDS]
    return frozenset(
        stem
        for before, word in pairwise(said)
        if word in ("syndrome", "disease", "disorder")
        for stem in name_stems(before)
        if stem not in _ANY_DISEASE
    )


def _of_entry(match: Match, reading: Reading, others: set[str], most: int) -> list[Said]:
    entry = match.entry
    places = [place for place in entry.places() if not _of_other_half(entry, match, place)]
    worth = _field_worth(entry, places, reading.aspects)
    rest = {w: n for w, n in reading.rest.items() if w not in others}
    whole = sum(rest.values())
    hits = [_share(place, rest, whole) for place in places]
    if _names_no(match, places) or _misses(entry, reading, hits, whole):
        return []
    own = match.stems - set(name_stems(entry.title))
    look = {word for one in reading.aspects[:2] for word in one.looked_for}
    scores = [
        worth.get(place.field, 0.0)
        + (REST * hit if hit >= HIT else 0.0)
        + (LOOKED if look & set(name_stems(place.statement.text)) else 0.0)
        + (NAMED if own and own <= set(name_stems(place.statement.text)) else 0.0)
        for place, hit in zip(places, hits, strict=True)
    ]
    kept = _kept(places, scores, worth, most)
    first = {place.field: -worth.get(place.field, 0.0) for place in places}
    kept.sort(key=lambda at: (first[places[at].field], at))
    return [Said(entry, places[at]) for at in kept]


def _of_other_half(entry: Entry, match: Match, place: Place) -> bool:
    """Whether a statement is only on the half of a title that was not asked for."""
    halves = [frozenset(name_stems(one)) for one in halves_of(entry.title)]
    asked = [one for one in halves if one <= match.stems]
    has = set(name_stems(place.statement.text))
    other = [one for one in halves if not one & match.stems]
    spoken = sum(
        bool(asked and asked[0] & set(name_stems(one.statement.text))) for one in entry.places()
    )
    return (
        len(asked) == 1 and spoken >= 2 and bool(other) and other[0] <= has and not asked[0] & has
    )


def _kept(
    places: Sequence[Place], scores: Sequence[float], worth: dict[str, float], most: int
) -> list[int]:
    """The best statements, and behind hits on the rest a few of the field that was asked."""
    best = max(scores, default=0.0)
    order = sorted(range(len(places)), key=lambda at: (-scores[at], at))
    kept = [at for at in order if best > 0 and scores[at] >= LEAST * best][:most]
    room = BESIDE if best > ASKED else 0
    beside = [at for at in order if at not in kept and worth.get(places[at].field) == ASKED]
    return (kept + beside[:room])[:most]


def _field_worth(
    entry: Entry, places: Sequence[Place], aspects: Sequence[Aspect]
) -> dict[str, float]:
    """What a field is worth for what was asked; a later field only where those before are empty."""
    full = {place.field for place in places}
    found: dict[str, float] = {}
    medicine = entry.kind == "medicine"
    fitting = [one for one in aspects if one.medicine == medicine or len(aspects) == 1]
    asked = fitting or list(aspects)
    asked = [one for one in asked if not one.alone] or asked
    if asked and asked[0].id == "seek":
        asked = [one for one in asked[:2] if one.id in ("seek", "symptoms")]
    for number, aspect in enumerate(asked[:2]):
        value = ASKED if number == 0 else ALSO_ASKED
        for name in _expanded(aspect.fields):
            fields = [f for f in full if f == name or f.startswith(f"{name}.")]
            if fields:
                for field in fields:
                    found[field] = max(found.get(field, 0.0), value)
                break
        for field in set(aspect.also) & full if len(asked) == 1 else ():
            found.setdefault(field, ALSO_ASKED)
    if not found:
        for name in _ANY:
            if name in full:
                found[name] = ASKED if name == "what" else ALSO_ASKED
    return found


def _expanded(fields: Sequence[str]) -> Iterator[str]:
    """The fields, then what stands for them in an entry of the other kind."""
    yield from fields
    for name in fields:
        yield from _LIKE.get(name, ())


def _share(place: Place, rest: dict[str, float], whole: float) -> float:
    """Share of the rest of the question, by rarity, that a statement has."""
    if not whole:
        return 0.0
    has = set(name_stems(place.statement.text))
    return sum(weight for word, weight in rest.items() if word in has) / whole


def _names_no(match: Match, places: Sequence[Place]) -> bool:
    """Whether one test of many is asked about, and no statement is on it."""
    title = set(name_stems(match.entry.title))
    own = match.stems - title
    texts = (set(name_stems(place.statement.text)) for place in places)
    return "test" in title and bool(own) and not any(own <= text for text in texts)


def _misses(entry: Entry, reading: Reading, hits: Sequence[float], whole: float) -> bool:
    """Whether it is asked if something is safe that the entry does not name."""
    asks = {one.id for one in reading.aspects} & {"safety", "effects"}
    if entry.kind == "topic" and len(reading.aspects) > 1:
        return False
    return bool(asks) and whole > 0 and max(hits, default=0.0) < HIT
