"""Detection of questions about doses: how much of a medicine, how often, or a change of it.

Functions named after a kind of question return whether a question is of that kind; the examples in
their docstrings are questions that match.
"""

from __future__ import annotations

from galenic.assistant.guards.doses import (
    CHANGE,
    COUNTED_ELSE,
    MEASURED,
    MORE,
    STRONG,
    has_unit,
    is_time,
)
from galenic.assistant.guards.told import FOOD, MEDICINE, TAKE, Told, asks_why
from galenic.assistant.triage.words.wording import word_set

__all__ = ["asks_dose"]

_ASKS = word_set(
    "is are do does can could would should what whats how when which shall max maximum will if has"
)
_ELSE = word_set(
    "steps calories hours sleep age old weigh exercise portions cigarettes screen fever heart rate "
    "distance kids periods glasses pints"
)
"""Things other than medicines that a question may call "too much" or "too high"."""


def asks_dose(told: Told) -> bool:
    """Check whether a question asks how much of a medicine to take, how often, or to change it.

    "How many ibuprofen can I take?" matches; "Why do I take it once a week?" does not.

    Args:
        told: tokens of one sentence of the question.
    """
    if asks_why(told) or told.says("how many kinds", "how many types", "donate blood"):
        return False
    takes = told.says("i take", "im on") and not any(
        told.says(f"{one} i take") for one in ("can", "should", "could", "may", "do", "if", "when")
    )
    if takes or told.says("side effect", "side effects", "feel like"):
        return told.says("should i", "how much", "how many", "can i have")
    if _too_much(told) or (_strength(told) and not _other_amount(told)):
        return True
    if not told.has(MEDICINE | word_set("dose dosage doses")) or _other_amount(told):
        return False
    return _asks_amount(told) or _asks_more(told) or _asks_often(told)


def _strength(told: Told) -> bool:
    """Check for a number near a medicine: "do two 200s equal one 400 ibuprofen"."""
    if told.has(word_set("symptoms absorb absorbing pay why free")):
        return False
    asks = told.starts(_ASKS) or told.has(word_set("ok okay can should could may safe"))
    numbers = any(
        not is_time(told, at) and told.tokens[at] not in ("1", "half", "few", "several", "couple")
        and not told.after(at, COUNTED_ELSE | word_set("hour hourly"), 2)
        for at in told.numbers()
    )  # fmt: skip
    beside = told.has(MEDICINE) and not told.has(MEASURED | FOOD | _ELSE - {"age", "old"})
    changing = told.follow(word_set("upping doubling halving increasing raising reducing lowering "
                                    "bumping tripling"), MEDICINE | {"dose"}, 4)  # fmt: skip
    several = told.has(word_set("together kinds types different combined years"))
    return (asks and numbers and beside and not several) or changing


def _too_much(told: Told) -> bool:
    """Check for "too much" with a number: "is 1000 too much", "would four puffs be too many".

    The medicine need not be named.
    """
    too = told.says("too much", "too many", "too high", "too low", "too little", "too strong",
                    "enough", "at once", "in one go", "a lot")  # fmt: skip
    number_ = any(not is_time(told, at) and told.tokens[at] != "1" for at in told.numbers())
    units = any(has_unit(told, at, STRONG) for at in told.numbers())
    starts = told.starts(word_set("is are would was will if can do"))
    return too and starts and (units or number_) and not told.has(FOOD | MEASURED | _ELSE)


def _other_amount(told: Told) -> bool:
    """Check for an amount that is no dose: "how much does it cost", "how often to be checked"."""
    if told.says("how much is a", "how much are", "come in a", "come in the"):
        return True
    works = told.says("how long does", "how long do", "how long will", "kick in", "come in",
                      "in a pack", "how much does", "how much weight",
                      "how many people")  # fmt: skip
    often = told.says("how often") and told.has(
        word_set("check checked test tested bleed change see review reviewed replace wash")
    )
    after = told.says("how long after", "how soon after") and told.has(
        word_set("drink drive pregnant breastfeed stopping fly eat alcohol")
    )
    return works or often or after or told.has(word_set("cost costs price expensive"))


def _asks_amount(told: Told) -> bool:
    """Check for a question of quantity: "how much", "what strength", "on too high a dose of"."""
    asked = told.says(
        "how much", "how many", "how big", "how strong", "how high", "how low", "how far apart",
        "how big a", "safe amount", "how far up",
    )  # fmt: skip
    nouns = word_set("dose dosage doses dosing amount strength mg mgs ml mls mils milligrams units "
                     "maximum max limit most ceiling interval gap minimum")  # fmt: skip
    what = told.near(
        word_set("what whats which right correct normal usual best safe safest high low max "
                 "maximum starting start the my is too daily"), nouns, 4,
    )  # fmt: skip
    degree = told.has(word_set("is am are was")) and told.near(
        word_set("too very quite low high strong weak"), nouns | MEDICINE, 5
    ) and told.has(nouns)  # fmt: skip
    return asked or (what and not told.has(_ELSE - {"age", "old"})) or degree


def _asks_more(told: Told) -> bool:
    """Check for a question about more or less: "can I have another", "could I manage on half"."""
    may = told.has(word_set("can could should shall may ok okay safe alright fine do would am "
                            "allowed if need"))  # fmt: skip
    may = may or told.starts(word_set("is are"))
    amount = told.has(MORE - {"next", "second", "less", "adult"} | word_set("again both over")) or (
        any(told.tokens[at][0].isdecimal() and not is_time(told, at) for at in told.numbers())
    )
    amount = amount or told.near(word_set("adult second less next stronger"), MEDICINE, 3)
    taken = told.has(
        TAKE | CHANGE | word_set("manage on over more another need safe")
    ) or told.says("a lot", "too much", "too many", "too little", "per day", "a day")
    return may and amount and taken and not told.has(word_set("together kinds types"))


def _asks_often(told: Told) -> bool:
    """Check for a question of frequency: "how often can I", "when is my next dose"."""
    apart = told.says("how often", "how soon", "how far apart", "how many hours",
                      "how long between", "how long before", "how long till", "how long until",
                      "how long after", "how many times")  # fmt: skip
    again = told.has(word_set("when how")) and told.near(
        word_set("next another again more"), MEDICINE | {"one", "dose"}, 3
    )
    every = told.has(word_set("can could should is may ok")) and told.says(
        "every night", "every day", "every hour", "every morning", "twice a day", "twice daily",
        "each night", "all day", "every few hours",
    )  # fmt: skip
    return apart or again or every
