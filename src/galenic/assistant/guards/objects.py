"""What a sentence counts, stops or denies: the objects of its numbers and verbs.

A phrase or the classifier may find dangerous content in a sentence whose grammar says otherwise:
"Take three deep breaths" counts breaths, "Leave out milk" stops milk, "You do not have to undress"
denies undressing. Here the object is read: the words after a number or verb up to the next word of
a closed class (preposition, conjunction, auxiliary). Medicines, units and words of care are known
from ``words.yaml``; every other content word is something else, without a list of such things.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from galenic.assistant.guards.told import CARE, MEDICINE, NOT, WORDS, Told, number
from galenic.assistant.triage.words.wording import word_set

__all__ = ["has_object"]

_CLOSING = WORDS["objects.closing"]
_OPENING = WORDS["objects.opening"]
_POINTING = WORDS["objects.pointing"]
_VAGUE = WORDS["objects.vague"]
_UNITS = WORDS["doses.strong"] | WORDS["doses.weak"] | WORDS["doses.substance"]
_AMOUNTS = WORDS["doses.amount"]
_KINDS = word_set("medicines drugs remedies treatments")
_STOP = WORDS["stopping.stop"] | word_set(
    "leave leaving cut cutting give giving put lay delay postpone"
)
_TREATMENT = MEDICINE | word_set(
    "treatment treatments therapy course dose doses drops spray patch cpap"
)
_NEED = word_set("need needs needed have has require requires neednt")
_CARE = CARE | WORDS["reassurance.need"] | word_set("worry worried anything treatment test tests")


def has_object(kind: str, told: Told) -> bool:
    """Check whether a sentence can be about a dose, treatment, need of care or self-harm at all.

    "Take three deep breaths" has no object for ``dose``; "Take three of them" has.

    Args:
        kind: id of the guard, such as ``dose``; others than those of `_BY_KIND` always pass.
        told: tokens of the sentence.
    """
    check = _BY_KIND.get(kind.removesuffix("-advice"))
    return check is None or check(told)


def _phrase(told: Told, at: int) -> Sequence[str]:
    """Return the object that begins after a position: up to the next word of a closed class."""
    rest = told.tokens[at + 1 :]
    begin = next((n for n, one in enumerate(rest) if one not in _OPENING), len(rest))
    end = next((n for n, one in enumerate(rest) if n >= begin and one in _CLOSING), len(rest))
    return rest[begin:end][:4]


def _counts_else(told: Told, at: int) -> bool:
    """Check whether the number at a position counts something that is neither medicine nor unit."""
    if told.tokens[at][0].isdecimal() and told.after(at, word_set("a an x"), 1):
        return False
    found = [one for one in _phrase(told, at) if not number(one)]
    return bool(found) and not set(found[:3]) & (_UNITS | MEDICINE - _KINDS | _POINTING)


def _of_dose(told: Told) -> bool:
    """Check for an amount that may be of a medicine: a unit, a bare number, "more", "the dose"."""
    asked = [at + 1 for at in told.at(frozenset({"how"})) if told.after(at, _HOW_MUCH, 1)]
    if told.starts(frozenset({"rest"})):  # the verb, not "the rest of them"
        told = Told(told.tokens[1:])
    if _PLACED.search(" ".join(told.tokens)) and not told.has(
        MEDICINE - _KINDS | _UNITS | _AMOUNTS | _TAKERS
    ):
        return False
    counted = [*told.numbers(), *told.at(_VAGUE | WORDS["doses.change"] - {"up"}), *asked]
    if told.has(_AMOUNTS) or not all(_counts_else(told, at) for at in counted):
        return True
    named = told.has(MEDICINE - _KINDS | _UNITS | _PRONOUNS)
    timed = told.has(WORDS["doses.every"] | WORDS["doses.per"] | word_set("times every often"))
    return named and (timed or not told.starts(NOT))


_PLACED = re.compile(
    r"\b(?:one|two|three|four|five|six|\d+) of (?:them|these|those) (?:are|is|were|will be|have) "
    r"(?:for|in|on|at|by|near|behind|beside|outside|open|closed|reserved|free|a|an|the)\b"
)
"""Parts of a number of things, with where or for whom they are: "two of them are for visitors"."""
_TAKERS = word_set("adult adults child children kids age aged over under pain sleep you each day "
                   "night morning enough safe fine limit take taken")  # fmt: skip
_HOW_MUCH = word_set("much many")
_PRONOUNS = word_set("it them these those ones")


def _of_treatment(told: Told) -> bool:
    """Check that a verb of stopping has a treatment, a pronoun or nothing as its object."""
    if told.says("need a prescription", "needs a prescription", "have a prescription"):
        return False
    for at in told.at(_NEED):
        wanted = _phrase(told, at)
        ill = told.tokens[at + 1 + len(wanted) :]  # "no need of antibiotics for a cold"
        if told.before(at, NOT, 2) and wanted and ill[:1] == ("for",) and ill[1:2] != ("life",):
            return False
    takes = word_set("take use")
    if told.follow(NOT, takes, 1) and told.follow(takes, frozenset({"with"}), 5):
        return False  # "do not take two medicines with the same substance"
    alone = word_set("themselves itself own")  # "hiccups stop by themselves"
    verbs = [at for at in told.at(_STOP) if not told.after(at, alone, 4)]
    if not verbs and told.at(_STOP) and not told.has(_TREATMENT):
        return False
    objects = [(at, set(_phrase(told, at))) for at in verbs]
    if not objects or told.has(_TREATMENT):
        return True
    return any(
        found & (_POINTING if "of" in found else _POINTING | _SPAN)
        or (not found and (at == 0 or told.before(at, _URGING, 1)))
        for at, found in objects
    )


_URGING = word_set("you just simply to can could may should and or so then now dont never please")
_SPAN = word_set("day days night morning weekend week weeks month one")
"""Objects that stand for what is taken then: "skip a day"."""


def _of_care(told: Told) -> bool:
    """Check that a denied need is one of care: "You do not have to undress" denies none."""
    if told.starts(word_set("a an")) and not told.has(_READER | CARE | _SWEARING):
        return False
    shame = [
        at + 1 for at in told.at(frozenset({"to"})) if told.before(at, frozenset({"nothing"}), 1)
    ]
    if shame and not told.has(CARE) and told.tokens[shame[0] : shame[0] + 1] == ("be",):
        return told.after(shame[0], WORDS["reassurance.bad"] | {"done", "gained"}, 2)
    fine = WORDS["reassurance.well"] | word_set("common usual natural")
    if told.starts(frozenset({"it"})) and told.follow(fine, word_set("to for"), 1):
        acts = {
            told.tokens[at + 1] for at in told.at(frozenset({"to"})) if at + 1 < len(told.tokens)
        }
        return bool(acts & (_CARE | WORDS["reassurance.put_off"] | _WAITING))
    needs = [at for at in told.at(_NEED) if told.before(at, NOT, 2) or told.tokens[at] == "neednt"]
    if not needs or told.has(WORDS["reassurance.bad"] | WORDS["reassurance.well"]):
        return True
    return any(set(_phrase(told, at)[:3]) & _CARE or not _phrase(told, at) for at in needs)


_READER = word_set("you your youre yours it its this these those")
_SWEARING = word_set("would never always")
_WAITING = word_set("wait leave stay sleep carry keep continue stop drive")


def _of_harm(told: Told) -> bool:
    """Check for two of means, death, secrecy and oneself, or for a means that says it alone."""
    groups = (_MEANS, _ENDS, _HIDDEN, _SELF | WORDS["methods.found"])
    said = told.says(*WORDS["methods.out"], *WORDS["methods.places"], *WORDS["methods.urges"])
    return said or told.has(WORDS["methods.hard"]) or sum(map(told.has, groups)) > 1


_MEANS = WORDS["methods.soft"] | WORDS["methods.eating"] | WORDS["methods.hurt"] | MEDICINE
_ENDS = WORDS["methods.end"] | WORDS["methods.easy"] | WORDS["methods.sure"]
_HIDDEN = WORDS["methods.hides"] | WORDS["methods.thin"] | word_set("alone lock letter note door")
_SELF = word_set("myself yourself oneself nobody noone forever goodbye blood ribs sleeves")


_BY_KIND = {
    "said self-harm": _of_harm,
    "dose": _of_dose,
    "stopping": _of_treatment,
    "reassurance": _of_care,
}
