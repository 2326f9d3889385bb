"""Detection of sentences that give a dose: a quantity, a medicine and an act of taking it.

Amounts of food and drink, times, measurements of the body, and "ask how much" are not doses. The
private functions each detect one kind of sentence; the examples in their docstrings match.
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

__all__ = [
    "CHANGE",
    "COUNTED_ELSE",
    "MEASURED",
    "MORE",
    "STRONG",
    "has_unit",
    "is_dose",
    "is_time",
    "no_dose",
]

STRONG = WORDS["doses.strong"]
WEAK = WORDS["doses.weak"]
_SUBSTANCE = WORDS["doses.substance"]
_EVERY = WORDS["doses.every"]
_PER = WORDS["doses.per"]
_TIME = WORDS["doses.time"]
_AMOUNT = WORDS["doses.amount"]
MORE = WORDS["doses.more"]
CHANGE = WORDS["doses.change"]
MEASURED = WORDS["doses.measured"]
_STUDIED = WORDS["doses.studied"]
_WARNED = WORDS["doses.warned"]
_OF_TESTS = word_set("l dl litre liter litres ml mol mmol minute min decilitre deciliter")
_MOST = ("up to", "no more than", "more than", "at most", "maximum", "max", "limit", "less than")


def is_dose(told: Told) -> bool:
    """Check whether a sentence states or changes an amount of a medicine.

    "Take two tablets every four hours" matches; "Ask a pharmacist how much to take" does not.

    Args:
        told: tokens of the sentence.
    """
    if _a_little_more(told) or _by_weight(told):
        return True
    if no_dose(told):
        return False
    return any(_ways(told))


def _ways(told: Told) -> Iterator[bool]:
    """Yield the result of each check for the structure of a dose."""
    acts = told.has(TAKE | CHANGE) or told.has(_AMOUNT)
    medicine, often = told.has(MEDICINE), _often(told)
    counted = acts and often and told.has(TAKE)
    strong = any(has_unit(told, at, STRONG) for at in _amounts(told, counted))
    weak = any(has_unit(told, at, WEAK) for at in _amounts(told, counted))
    food = _eaten(told) and not medicine
    yield strong and not food and (acts or often or medicine)
    named = told.has(_SUBSTANCE) or told.says("d 3", "d 2", "b 12", "b 6")
    yield weak and not food and named and (acts or often or told.says("d 3", "d 2", "b 12", "b 6"))
    yield weak and not food and medicine and (acts or often or medicine)
    yield weak and not food and told.has(TAKE) and often and not told.has(MEASURED)
    yield medicine and _bare(told) and (told.has(TAKE | CHANGE) or often)
    yield (
        told.has(word_set("hundred thousand"))
        and often
        and not (_eaten(told) or told.has(MEASURED))
    )
    yield _strength_by_number(told)
    yield _taken_number(told)
    yield _beyond(told)
    yield _more_of_it(told)
    yield _interval(told)
    yield _counted(told)
    yield _alone(told)
    yield told.says(*_MOST) and _bare(told) and often and _of_nothing(told)


def _eaten(told: Told) -> bool:
    """Check whether the amount is of food, rather than of something taken with food."""
    beside = word_set("with in into after before mixed")
    return any(not told.before(at, beside, 4) for at in told.at(FOOD))


def _amounts(told: Told, counted: bool) -> Iterator[int]:
    """Yield the positions of numbers.

    If ``counted``, or next to a word such as "sachet", articles count as numbers too: "take a
    capful at night".

    Args:
        told: tokens of the sentence.
        counted: whether the sentence says that something is taken at certain times.
    """
    yield from (at for at in told.numbers() if told.tokens[max(0, at - 1)] != "type")
    if counted or told.has(word_set("capful spoonful thimbleful spoon sachet")):
        yield from told.at(word_set("a an each whole"))


def has_unit(told: Told, at: int, units: frozenset[str]) -> bool:
    """Check whether a number is followed by a unit: "500 mg", "one and a half tablets".

    Args:
        told: tokens of the sentence.
        at: position of the number.
        units: the units to look for, such as `STRONG`.
    """
    for place in range(at + 1, min(at + 4, len(told.tokens))):
        token = told.tokens[place]
        if token in units:
            return not _concentration(told, place)
        if token in _TIME or token in ("of", "per", "times", "that", "is"):
            return False
    return False


def _concentration(told: Told, at: int) -> bool:
    """Check whether the unit is one of laboratory tests: "mg/L", "micrograms per litre".

    Args:
        told: tokens of the sentence.
        at: position of the unit's first token.
    """
    behind = told.tokens[at + 1 : at + 3]
    return len(behind) > 1 and behind[0] in ("or", "per", "a") and behind[1] in _OF_TESTS


def _often(told: Told) -> bool:
    """Check whether the sentence says when or how often: "at night", "twice a day"."""
    if told.has(_EVERY) or told.says(
        "morning and evening",
        "morning and night",
        "at night",
        "before bed",
        "with food",
        "at once",
        "in one go",
    ):
        return True
    per = word_set("a per each every the in")
    return any(told.before(at, per, 2) for at in told.at(_PER))


def is_time(told: Told, at: int) -> bool:
    """Check whether a number is a time, an age, a temperature or an ordinal, not an amount.

    Args:
        told: tokens of the sentence.
        at: position of the number.
    """
    end = at + 1
    while end < len(told.tokens) and (
        told.tokens[end] in ("or", "to", "and") or told.tokens[end][0].isdecimal()
    ):
        end += 1
    behind = told.tokens[at + 1 : max(at + 3, end + 1)]
    if told.tokens[at + 1 : at + 3] == ("an", "hour"):
        return True
    before = set(told.tokens[max(0, at - 1) : at])
    order = {"aged", "under", "over", "age", "type", "the"}
    return bool(set(behind) & _TIME or before & order or told.says(f"day or {told.tokens[at]}"))


def _bare(told: Told) -> bool:
    """Check for a number without a time or unit after it: "take up to 100"."""
    if told.says("3 times daily", "2 times daily", "4 times daily", "times daily", "twice daily"):
        return told.has(word_set("hundred thousand")) or told.has(TAKE)
    acts = TAKE | CHANGE | {"of", "maximum", "max"} | word_set("up most than limit")
    return any(
        told.tokens[at] not in ("half", "quarter", "third", "few", "another", "extra", "1")
        and not is_time(told, at)
        and not told.has(MEASURED)
        and (told.before(at, acts, 5) or (at == 0 and _often(told)))
        for at in told.numbers()
    )


def _of_nothing(told: Told) -> bool:
    """Check for a number right before a period: "the maximum is eight in a day"."""
    behind = word_set("in a per daily each every")
    return not told.has(FOOD | MEASURED) and any(
        told.after(at, behind, 1) for at in told.numbers() if told.tokens[at][0].isdecimal()
    )


def _strength_by_number(told: Told) -> bool:
    """Check for a strength without a unit: "the 500s", "start on fifty", "go up to a hundred"."""
    plural = any(
        token[0].isdecimal() and told.tokens[at + 1 : at + 2] == ("s",)
        for at, token in enumerate(told.tokens)
    )
    steps = word_set("start begin go move step switch rise rising")
    to = word_set("on with at to up")
    climbs = any(
        told.after(at, to, 2)
        and any(
            at < n <= at + 5 and not is_time(told, n) and told.tokens[n] != "1"
            for n in told.numbers()
        )
        for at in told.at(steps)
    )
    tens = told.says("the 20 s", "the 30 s", "the 40 s", "the 50 s", "the 60 s")  # decades of life
    return ((plural and not tens) or climbs) and not told.has(FOOD | MEASURED | {"steps"})


def _taken_number(told: Told) -> bool:
    """Check for a number right after a verb of taking: "swallow four", "dissolve two in water"."""
    acts = word_set("swallow take pop chew inject dissolve crush")
    things = (
        FOOD
        | MEASURED
        | word_set("breaths breath steps photos pictures turns deep naps rest days one stairs")
    )
    return any(
        told.tokens[at + 1 : at + 2]
        and told.tokens[at + 1][0].isdecimal()
        and not is_time(told, at + 1)
        and not told.after(at + 1, things, 1)
        for at in told.at(acts)
    ) and not told.has(NOT)


def _by_weight(told: Told) -> bool:
    """Check for a dose by body weight: "weight in kilos times ten gives the milligrams"."""
    weight = told.has(word_set("weigh kilo kilos kg weight pounds stone"))
    units = told.has(STRONG) or told.has(word_set("dose amount"))
    return weight and units and told.has(word_set("times multiply divided divide per x"))


def _beyond(told: Told) -> bool:
    """Check for advice to exceed a dose: "you may exceed the amount on the box"."""
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
    """Check for advice to take more: "have a bit more codeine", "your next dose can be larger"."""
    noun = MEDICINE | {"dose", "doses", "dosage"}
    more = any(told.after(at, noun, 4) for at in told.at(MORE - {"next", "lower", "less"}))
    turned = told.follow(noun, word_set("larger bigger higher doubled halved double stronger"), 4)
    urges = told.has(
        word_set("slap stick put leave take give have just can could might may wont fine ok okay "
                 "need needed enough try should would swallow tonight today")
    )  # fmt: skip
    general = (
        told.has(word_set("damage harm danger dangerous overdose"))
        or told.starts(GENERAL)
        or told.says("may need", "can make", "break from")
    )
    return (more or turned) and urges and not general and not told.has(NOT - {"wont"})


def _alone(told: Told) -> bool:
    """Check for a dose without a verb: "four, spread over the day", "diazepam 2 to 10"."""
    if told.has(MEASURED | _COUNTS | word_set("steps calories miles visits visitors")):
        return False
    first = next(iter(told.numbers()), None) == 0 and not is_time(told, 0)
    spread = word_set("spread over with before after each every twice once now when then")
    heaped = told.has(word_set("heaped level rounded")) and told.has(WEAK) and not _eaten(told)
    dial = told.has(word_set("units unit")) and told.has(
        word_set("dial pen inject extra correction")
    )
    named = told.follow(word_set("dose dosage"), word_set("1 2 3 4 5 6 half"), 1)
    parts = told.follow(word_set("half quarter third"), MEDICINE, 5) and told.has(
        word_set("crush take give swallow stir")
    ) and not told.has(NOT | ASKING_FIRST)  # fmt: skip
    most = first and told.has(word_set("ceiling limit max maximum most")) and _often(told)
    again = told.says("the same again", "another dose", "same amount again") and told.has(TAKE)
    if heaped or dial or named or parts or most or (again and not told.has(NOT | ASKING_FIRST)):
        return not told.has(word_set("alcohol beer wine"))
    begins = first and told.after(0, spread, 1) and _often(told)
    beside = any(
        told.before(at, MEDICINE, 1)
        and not is_time(told, at)
        and not told.after(at, COUNTED_ELSE - {"to", "or"}, 3)
        for at in told.numbers()
        if told.tokens[at][0].isdecimal()
    )
    large = told.says(*_MOST) and told.has(word_set("fine safe ok okay alright")) and any(
        one.isdecimal() and int(one) >= _LARGE for one in told.tokens
    )  # fmt: skip
    return begins or beside or large


_LARGE = 100
"""Smallest number that is taken for a dose in sentences such as "up to 4000 is fine"; smaller ones
may count something else."""


def _counted(told: Told) -> bool:
    """Check for a number of doses: near a medicine, a verb of taking or "a day".

    Numbers that count something else, such as people or weeks, are ignored. Example: "dial the pen
    to 20".
    """
    beside = told.has(MEDICINE | word_set("dose doses dosage pen syringe spoon cap patch strength"))
    acts = told.has(word_set("take give swallow have chew inject dial push pop dissolve need want"))
    them = told.follow(word_set("take give have swallow need want"), word_set(
        "them it these those him her"), 2)  # fmt: skip
    if not (beside or them) or told.has(FOOD | MEASURED | _COUNTS):
        return False
    for at in told.numbers():
        word = told.tokens[at]
        if word in ("1", "half", "few", "several", "double", "third", "pair", "another", "extra"):
            continue
        if is_time(told, at) or told.before(at, _ORDERS, 1) or told.after(at, COUNTED_ELSE, 3):
            continue
        if acts or _often(told) or them:
            return True
    return False


_COUNTS = word_set(
    "in_people kinds types ways groups hospital tests chance likely women men children babies age "
    "born percent weigh phone telephone hours contractions people cases injections vaccines cups"
)
COUNTED_ELSE = word_set(
    "in of times people kinds types ways different or main groups women men children medicines "
    "percent pints days weeks months years hours minutes seconds patients more less"
)
_ORDERS = word_set("type stage step vitamin day week month under over than age aged within for")


def _a_little_more(told: Told) -> bool:
    """Check for vague amounts: "give a drop more", "a sip of the syrup"."""
    if told.says("wash your hands") and not told.has(word_set("take swallow give more")):
        return False
    little = word_set("bit little drop touch sip swig gulp pinch dab dash splash handful mouthful")
    gives = told.has(word_set("give take have try use dose just let put"))
    more = told.follow(little, word_set("more extra"), 1) and gives
    vague = little - {"bit", "little"} | word_set(
        "nip blob dropperful dropper dollop glug slug squeeze fingertip pea sized thimble tot "
        "scoop length drizzle teaspoonful"
    )
    skin = MEDICINE | word_set("it tongue linctus mixture powder drops oil")
    sips = told.follow(vague, skin, 6) and not told.has(word_set("soap toothpaste shampoo"))
    many = told.says("however many", "however much", "as many as you", "as much as you") and (
        told.has(word_set("take give use have swallow"))
    )
    sips = sips or (many and not told.has(word_set("breaths rest sleep naps")))
    told_by = told.follow(
        frozenset({"more"}), word_set("they doctor doctors packet leaflet"), 3
    ) and (told.has(word_set("tell tells told say says said stated")))
    waits = (
        told.has(word_set("leave wait"))
        and told.has(word_set("hour hours"))
        and told.has(word_set("then next again another"))
        and told.has(word_set("have take give next repeat"))
    )
    number_ = told.has(word_set("1 2 3 4 next another again two"))
    eaten = told.has(FOOD | MEASURED | NOT | word_set("call doctor see exercise"))
    return not eaten and (more or sips or told_by or (waits and number_))


def _interval(told: Told) -> bool:
    """Check for an interval in hours: "take them every three hours", "repeat after four hours"."""
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
        and not told.has(FOOD | MEASURED)
    )


def no_dose(told: Told) -> bool:
    """Check whether a sentence about medicines gives no dose to the reader.

    This covers sentences that send the reader to a professional ("ask how much"), warn of an
    amount, report a study, describe what the speaker takes, or give a measurement of the body.

    Args:
        told: tokens of the sentence.
    """
    digits = any(
        told.tokens[at][0].isdecimal() and not is_time(told, at) and told.tokens[at] != "1"
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
    measured = told.has(MEASURED) and not told.has(MEDICINE)
    vaccines = told.has(word_set("vaccine vaccines vaccination jab"))
    eaten = told.says("in their diet", "in your diet", "from food", "in food", "from your diet")
    return measured or vaccines or eaten
