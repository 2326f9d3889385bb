"""Whether a sentence says how much of a medicine to take: a quantity, a substance and an act.

Amounts of food and drink, times, measurements of the body and "ask how much" are no doses.
"""

from __future__ import annotations

from collections.abc import Iterator

from galenic.assistant.guards.told import (
    ASKING_FIRST,
    FOOD,
    GENERAL,
    MEDICINE,
    NOT,
    TAKE,
    WORDS,
    Told,
)
from galenic.assistant.triage.words.wording import word_set

__all__ = ["asks_dose", "is_dose"]

STRONG = WORDS["doses.strong"]
WEAK = WORDS["doses.weak"]
_SUBSTANCE = WORDS["doses.substance"]
_EVERY = WORDS["doses.every"]
_PER = WORDS["doses.per"]
_TIME = WORDS["doses.time"]
_AMOUNT = WORDS["doses.amount"]
_MORE = WORDS["doses.more"]
_CHANGE = WORDS["doses.change"]
_MEASURED = WORDS["doses.measured"]
_STUDIED = WORDS["doses.studied"]
_WARNED = WORDS["doses.warned"]
_MOST = ("up to", "no more than", "more than", "at most", "maximum", "max", "limit", "less than")


def is_dose(told: Told) -> bool:
    """Whether a sentence gives or changes an amount of a medicine."""
    if _harmless(told):
        return False
    return any(_ways(told))


def asks_dose(told: Told) -> bool:
    """Whether a question asks how much of a medicine to take, or to change it."""
    if told.says("side effect", "side effects", "how long does", "how long do", "feel like",
                 "i take", "im on"):  # fmt: skip
        return told.says("should i take", "how much", "how many", "can i take", "can i have")
    if not told.has(MEDICINE):
        return False
    asked = told.says("how much", "how many", "how often", "what dose", "what strength",
                      "what amount", "right dose", "max dose", "maximum dose", "safe amount",
                      "which strength", "how far apart", "how many hours")  # fmt: skip
    may = told.has(word_set("can could should shall may ok okay safe alright fine"))
    amount = told.has(_MORE - {"next", "second", "less"}) or any(
        told.tokens[at][0].isdecimal() and not _is_time(told, at) for at in told.numbers()
    )
    taken = told.has(TAKE | _CHANGE) or told.says("a lot", "too much", "too many", "too little")
    may = may or told.starts(word_set("is are"))
    return asked or (may and amount and taken)


def _ways(told: Told) -> Iterator[bool]:
    """The structures of a dose."""
    acts = told.has(TAKE | _CHANGE) or told.has(_AMOUNT)
    medicine, often = told.has(MEDICINE), _often(told)
    counted = acts and often and told.has(TAKE)
    strong = any(_quantity(told, at, STRONG) for at in _amounts(told, counted))
    weak = any(_quantity(told, at, WEAK) for at in _amounts(told, counted))
    food = _eaten(told) and not medicine
    yield strong and not food and (acts or often or medicine)
    yield weak and not food and (medicine or told.has(_SUBSTANCE)) and (acts or often or medicine)
    yield weak and not food and told.has(TAKE) and often and not told.has(_MEASURED)
    yield medicine and _bare(told) and (told.has(TAKE | _CHANGE) or often)
    yield told.has(word_set("hundred thousand")) and often and not told.has(FOOD | _MEASURED)
    yield _strength_by_number(told)
    yield _taken_number(told)
    yield _by_weight(told)
    yield _beyond(told)
    yield _more_of_it(told)
    yield _interval(told)
    yield told.says(*_MOST) and _bare(told) and often and _of_nothing(told)


def _eaten(told: Told) -> bool:
    """Whether the amount is one of food, not of what is taken with it."""
    beside = word_set("with in into after before mixed")
    return any(not told.before(at, beside, 4) for at in told.at(FOOD))


def _amounts(told: Told, counted: bool) -> Iterator[int]:
    """Places of numbers, and where it is taken at times, of "a": "take a capful at night"."""
    yield from (at for at in told.numbers() if told.tokens[max(0, at - 1)] != "type")
    if counted or told.has(word_set("capful spoonful thimbleful spoon sachet")):
        yield from told.at(word_set("a an each whole"))


def _quantity(told: Told, at: int, units: frozenset[str]) -> bool:
    """Whether a number is followed by a unit: "500 mg", "one and a half tablets"."""
    for token in told.tokens[at + 1 : at + 4]:
        if token in units:
            return True
        if token in _TIME or token in ("of", "per", "times", "that", "is"):
            return False
    return False


def _often(told: Told) -> bool:
    if told.has(_EVERY) or told.says("at night", "before bed", "with food", "at once", "in one go"):
        return True
    per = word_set("a per each every the in")
    return any(told.before(at, per, 2) for at in told.at(_PER))


def _is_time(told: Told, at: int) -> bool:
    """Whether the number is one of time, age, temperature or order."""
    end = at + 1
    while end < len(told.tokens) and (
        told.tokens[end] in ("or", "to", "and") or told.tokens[end][0].isdecimal()
    ):
        end += 1
    behind = told.tokens[at + 1 : max(at + 3, end + 1)]
    before = set(told.tokens[max(0, at - 1) : at])
    order = {"aged", "under", "over", "age", "type", "the"}
    return bool(set(behind) & _TIME or before & order or told.says(f"day or {told.tokens[at]}"))


def _bare(told: Told) -> bool:
    """Whether there is a number with no time or measure behind it: "up to 100", "two of them"."""
    if told.says("3 times daily", "2 times daily", "4 times daily", "times daily", "twice daily"):
        return told.has(word_set("hundred thousand")) or told.has(TAKE)
    acts = TAKE | _CHANGE | {"of", "maximum", "max"} | word_set("up most than limit")
    return any(
        told.tokens[at] not in ("half", "quarter", "third", "few", "another", "extra", "1")
        and not _is_time(told, at)
        and not told.has(_MEASURED)
        and (told.before(at, acts, 5) or (at == 0 and _often(told)))
        for at in told.numbers()
    )


def _of_nothing(told: Told) -> bool:
    """Whether a number stands before "a day" and the like: "the maximum is eight in a day"."""
    behind = word_set("in a per daily each every")
    return not told.has(FOOD | _MEASURED) and any(
        told.after(at, behind, 1) for at in told.numbers() if told.tokens[at][0].isdecimal()
    )


def _strength_by_number(told: Told) -> bool:
    """ "The 500s", "start on fifty", "go up to a hundred"."""
    plural = any(
        token[0].isdecimal() and told.tokens[at + 1 : at + 2] == ("s",)
        for at, token in enumerate(told.tokens)
    )
    steps = word_set("start begin go move step switch rise rising")
    to = word_set("on with at to up")
    climbs = any(
        told.after(at, to, 2)
        and any(
            at < n <= at + 5 and not _is_time(told, n) and told.tokens[n] != "1"
            for n in told.numbers()
        )
        for at in told.at(steps)
    )
    tens = told.says("the 20 s", "the 30 s", "the 40 s", "the 50 s", "the 60 s")  # decades of life
    return ((plural and not tens) or climbs) and not told.has(FOOD | _MEASURED | {"steps"})


def _taken_number(told: Told) -> bool:
    """ "Swallow four", "dissolve two in water": a number right behind the act."""
    acts = word_set("swallow take pop chew inject dissolve crush")
    things = (
        FOOD
        | _MEASURED
        | word_set("breaths breath steps photos pictures turns deep naps rest days one stairs")
    )
    return any(
        told.tokens[at + 1 : at + 2]
        and told.tokens[at + 1][0].isdecimal()
        and not _is_time(told, at + 1)
        and not told.after(at + 1, things, 1)
        for at in told.at(acts)
    ) and not told.has(NOT)


def _by_weight(told: Told) -> bool:
    """ "Weight in kilos times ten gives the milligrams"."""
    weight = told.has(word_set("kilo kilos kg weight pounds stone"))
    units = told.has(STRONG) or told.has(word_set("dose amount"))
    return weight and units and told.has(word_set("times multiply divided divide per x"))


def _beyond(told: Told) -> bool:
    """ "You may exceed the amount on the box", "twice as often as the leaflet says"."""
    bounds = word_set("box packet leaflet label packaging")
    more = told.has(word_set("exceed double twice triple more beyond above over"))
    again = told.says(
        "straight after the first", "right after the first", "as often as you like",
        "as much as you like", "as many as you like", "as you need",
    )  # fmt: skip
    warned = told.has(NOT | ASKING_FIRST - {"label", "leaflet"}) or told.has(
        word_set("if damage harm danger dangerous overdose poison")
    )
    named = again and told.has(MEDICINE | {"pen", "it", "one"})
    return ((more and told.has(bounds)) or named) and not warned


def _more_of_it(told: Told) -> bool:
    """ "A bit more codeine", "your next dose can be larger", "give the adult dose"."""
    noun = MEDICINE | {"dose", "doses", "dosage"}
    more = any(told.after(at, noun, 4) for at in told.at(_MORE - {"next", "lower", "less"}))
    turned = told.follow(noun, word_set("larger bigger higher doubled halved double stronger"), 4)
    urges = told.has(
        word_set("take give have just can could might may wont fine ok okay need needed enough try "
                 "should would swallow tonight today")
    )  # fmt: skip
    general = told.starts(GENERAL) or told.says("may need", "can make", "break from")
    return (more or turned) and urges and not general and not told.has(NOT - {"wont"})


def _interval(told: Told) -> bool:
    """ "Take them every three hours", "repeated after four hours"."""
    hours = any(
        told.tokens[at][0].isdecimal()
        and told.after(at, word_set("hour hours hourly hrs h"), 2)
        and told.before(at, word_set("every after each"), 2)
        for at in told.numbers()
    ) or told.says("every hour", "every few hours", "an hour later", "every couple of hours")
    again = word_set("take taken taking give given repeat repeated repeating swallow top")
    return (
        hours
        and told.has(again)
        and (told.has(MEDICINE) or told.has(word_set("them it one repeat repeated top")))
        and not told.has(FOOD | _MEASURED)
    )


def _harmless(told: Told) -> bool:
    """No dose: asked for, warned of, studied, or measured."""
    digits = any(
        told.tokens[at][0].isdecimal() and not _is_time(told, at) and told.tokens[at] != "1"
        for at in told.numbers()
    )
    if told.has(_STUDIED) or told.says("i take", "i took", "i had", "he takes", "she takes"):
        return True
    warned = told.has(ASKING_FIRST | _WARNED) and not (
        _beyond(told) or told.has(frozenset({"box"}))
    )
    if not digits and (warned or told.has(NOT - {"zero", "no", "wont"})):
        return True
    doctors = word_set("doctor doctors nurse specialist team")
    lead = any(told.after(at, word_set("may can will might often decide starts"), 2)
               for at in told.at(doctors))  # fmt: skip
    if not digits and lead:
        return True
    measured = told.has(_MEASURED) and not told.has(MEDICINE)
    vaccines = told.has(word_set("vaccine vaccines vaccination jab"))
    return measured or vaccines
