"""Detection of advice to stop, skip or replace a treatment.

Such a sentence has a verb of stopping and a treatment. Warnings against stopping, and sentences
that leave the decision to a doctor, do not match. The examples in docstrings are sentences that
match.
"""

from __future__ import annotations

from galenic.assistant.guards.told import (
    ASKING_FIRST,
    GENERAL,
    MEDICINE,
    NOT,
    WORDS,
    Told,
    asks_why,
)
from galenic.assistant.triage.words.wording import word_set

__all__ = ["asks_stopping", "is_stopping"]

_TREATMENT = MEDICINE | word_set("""
treatment treatments therapy course dose doses transfusion transfusions pacemaker cpap
""")
"""Words for medicines and other treatments."""
_STOP = WORDS["stopping.stop"]
_PARTICLES = {
    "give": "up", "giving": "up", "leave": "out off", "leaving": "out off", "come": "off",
    "coming": "off", "came": "off", "get": "off rid", "getting": "off rid", "go": "without off",
    "going": "without off", "do": "without", "doing": "without", "live": "without",
    "be": "without", "put": "away hold aside", "throw": "away out", "cut": "out down back",
    "cutting": "out down back", "let": "go", "lay": "off", "take": "off out", "pull": "out",
    "hold": "off", "wait": "till until",
}  # fmt: skip
"""Verbs that mean stopping together with a particle, and those particles: "leave out", "put on
hold"."""
_GO_ON = WORDS["stopping.go_on"]
_OWN = WORDS["stopping.own"]
_IF = WORDS["stopping.if"]
_DOCTORS = WORDS["stopping.doctors"]
_MAY = WORDS["stopping.may"]
_WARNS = WORDS["stopping.warns"]
_FINE = WORDS["stopping.fine"]
_NO_TREATMENT = WORDS["stopping.no_treatment"]
_OVER = WORDS["stopping.over"]
"""Words for a treatment that is finished or no longer needed."""
_OTHER_OBJECTS = WORDS["stopping.other_objects"]
_NATURAL = WORDS["stopping.natural"]


def is_stopping(told: Told) -> bool:
    """Check whether a sentence advises to stop, skip or replace a treatment.

    "You can stop your tablets now" matches; "Never stop them without asking" does not.

    Args:
        told: tokens of the sentence.
    """
    if _untold(told):
        return True
    if _harmless(told):
        return False
    stops = (_stops(told) and told.has(_TREATMENT)) or _idiom(told)
    checks = (_not_any_more, _only_when, _instead, _over, _no_use)
    return stops or any(one(told) for one in checks)


def _no_use(told: Told) -> bool:
    """Check for a treatment that is called useless: "a statin is a waste"."""
    useless = word_set("waste overkill useless pointless unneeded needless wasted worthless")
    return told.has(useless) and told.has(_TREATMENT)


def _untold(told: Told) -> bool:
    """Check for advice not to take it: "simply don't take them", "no law says you must finish"."""
    them = word_set("them it those these")
    rest = frozenset(told.tokens)
    no_use = told.follow(word_set("dont"), word_set("take taking swallow finish use"), 1) and (
        told.follow(word_set("take taking swallow finish"), them, 1)
    )
    bare = not rest & (_IF - {"if", "when"}) and not rest & ASKING_FIRST
    free = told.says(
        "no law", "no rule", "nobody says", "who says", "no need to finish"
    ) and told.has(word_set("finish finished complete course keep take taking"))
    simply = told.has(word_set("simply just then so"))
    return (no_use and bare and (simply or not rest & {"if", "when"})) or free


def asks_stopping(told: Told) -> bool:
    """Check whether a question asks about stopping a treatment, or reports having stopped one.

    Skipping or replacing a treatment counts too.

    Args:
        told: tokens of one sentence of the question.
    """
    if told.has(_NO_TREATMENT) or told.says("what should i ask", "what to ask", "miss my period"):
        return False
    old = told.says("get rid of") and told.has(word_set("old expired unused leftover safely"))
    if old or asks_why(told):
        return False
    working = told.follow(word_set("stop stops"), word_set("working absorbing growing"), 5)
    hair = told.has(word_set("hair nails"))
    if not told.has(_TREATMENT) or working or hair:
        return False
    keep = told.says("have to keep", "need to keep", "still need", "really need", "have to take",
                     "need to take", "have to finish", "need to finish", "do i need my",
                     "i forgot my", "forgot my", "without my", "still have to", "for life",
                     "days off", "weeks off", "month off", "week off", "a break", "be rid of",
                     "get rid of", "run out", "ran out", "running out", "only take half",
                     "at home for", "every other day", "cold turkey", "leave it", "leave them",
                     "drop it", "drop them", "no more", "need to carry on", "have to carry on",
                     "need to go on", "need to stay on", "have to stay on")  # fmt: skip
    refused = told.near(NOT - {"no", "nothing", "nobody"}, word_set(
        "take taking start started starting use using taken want give giving finish need"
    ), 2) and not told.has(word_set("help helping work working allergic together"))  # fmt: skip
    symptom = told.follow(
        word_set("stop stopping stops"), _OTHER_OBJECTS | {"feeling", "it"}, 4
    ) and (not told.follow(word_set("stop stopping stopped"), _TREATMENT, 2))
    return keep or refused or (not symptom and (_stops(told) or told.has(_ENDED)))


_ENDED = word_set("""
stopped quit skipped missed halved halving halve wean weaning weaned taper tapering ditched ditching
ditch binned bin dropped discontinue discontinuing discontinued
""")


def _stops(told: Told) -> bool:
    """Check for a verb or idiom of stopping that is not negated and refers to a treatment."""
    for at in told.at(_STOP):
        if not _denied(told, at) and _is_stopped(told, at):
            return True
    for at, token in enumerate(told.tokens):
        particles = _PARTICLES.get(token, "").split()
        if (
            particles
            and not _denied(told, at)
            and told.after(at, frozenset(particles), 5)
            and _is_stopped(told, at)
        ):
            return True
    return told.says("break from", "holiday from", "time off from", "on hold", "cold turkey",
                     "better off without", "medicine holiday", "drug holiday") or (
                         _idiom(told))  # fmt: skip


def _idiom(told: Told) -> bool:
    """Check for idioms of stopping: "pack in the steroids", "say no to the pills"."""
    away = told.says("pack in", "jack in", "pack up", "see the back of", "say no to", "get shot of",
                     "on the head", "wave goodbye to", "say goodbye to", "done with",
                     "call it a day",
                     "have done with", "kick the", "steer clear of",
                     "had their day", "had its day", "served its", "served their", "their purpose",
                     "outlived", "neither here nor there", "no more", "a rest", "makes no odds",
                     "make no odds")  # fmt: skip
    lot = told.has(word_set("quit stop bin ditch dump drop")) and told.says(
        "the lot", "them all", "all of them", "all of it"
    )  # fmt: skip
    tapers = told.has(word_set("taper wean")) and not told.has(word_set("baby babies milk breast"))
    ends = told.tokens[-1:] in (("stop",), ("quit",)) and told.has(word_set("simply just can may"))
    tapers = tapers and not told.has(ASKING_FIRST | _DOCTORS)
    return (away and told.has(_TREATMENT)) or lot or tapers or ends


def _is_stopped(told: Told, at: int) -> bool:
    """Check whether a treatment is the object of the verb, or its subject in the passive.

    Args:
        told: tokens of the sentence.
        at: position of the verb.
    """
    if told.after(at, _TREATMENT, 6) and not told.after(at, _OTHER_OBJECTS, 3):
        return True
    passive = word_set("be can could is are isnt arent may longer might")
    return (
        told.before(at, _TREATMENT, 6)
        and told.before(at, passive, 3)
        and not told.after(at, _OTHER_OBJECTS | word_set("the symptoms pain infection germs"), 3)
    )


def _denied(told: Told, at: int) -> bool:
    """Check whether the verb at a position is negated: "do not stop"."""
    return told.before(
        at, NOT - {"without", "unnecessary", "pointless", "zero", "no"} | {"avoid"}, 4
    )


def _not_any_more(told: Told) -> bool:
    """Check for advice not to go on: "you won't need the antibiotics any more"."""
    for at in told.at(NOT | {"longer", "point"}):
        acts = [n for n in told.at(_GO_ON) if at < n <= at + 5]
        if acts and told.after(acts[0] - 1, _TREATMENT, 7) and told.after(acts[0], _OWN, 5):
            rest = frozenset(told.tokens[acts[0] + 1 :])
            ends = rest & {"rest", "anymore", "today", "tonight", "next", "further"}
            if (
                told.says("any more", "no longer", "no point", "wont need")
                or ends
                or not rest & _IF
            ):
                return True
    if told.follow(word_set("nobody noone"), word_set("need needs"), 1) and told.has(_TREATMENT):
        return True
    return told.says("isnt needed", "arent needed", "not needed", "no longer needed") and told.has(
        _TREATMENT
    )


def _only_when(told: Told) -> bool:
    """Check for irregular use: "only take the tablets when you feel like it"."""
    only = told.follow(word_set("only just"), word_set("take use have"), 2) and told.says(
        "when you feel",
        "if you feel",
        "when it",
        "on bad days",
        "when you remember",
        "like it",
        "on days",
        "when you need",
        "if you need",
        "as you need",
    )
    saved = told.follow(word_set("save keep store"), _TREATMENT, 4) and told.follow(
        frozenset({"for"}), word_set("bad worse later emergencies need"), 3
    )
    return (only or saved) and told.has(_TREATMENT)


def _over(told: Told) -> bool:
    """Check for an ended treatment: "you have outgrown your medicine"."""
    over = told.near(_TREATMENT, _OVER, 6)
    choice = told.says("your choice", "up to you", "your decision", "your own choice",
                       "no big deal", "done their job", "done its job", "a rest from",
                       "week off", "month off", "days off", "weekend off",
                       "weekends off")  # fmt: skip
    last = told.follow(_TREATMENT, frozenset({"only"}), 5) and told.has(word_set("days when"))
    refill = told.follow(frozenset({"only"}), word_set("refill renew collect"), 2)
    return (over or choice or last or refill) and (told.has(_TREATMENT) or refill)


def _instead(told: Told) -> bool:
    """Check for replacing: "replace the metformin with cinnamon"."""
    natural = (
        told.has(_NATURAL)
        and told.has(_TREATMENT - {"supplements", "vitamins"})
        and told.has(
            word_set(
                "trust than instead replace swap rather ditch cure cures substitute well same "
                "better"
            )
        )
    )
    others = told.near(
        word_set("husbands wifes mums dads friends neighbours partners sisters brothers someones"),
        _TREATMENT, 3,
    ) and told.has(word_set("take try use switch borrow swap have"))  # fmt: skip
    same = (
        told.has(_NATURAL)
        and told.has(_TREATMENT)
        and told.says("same job", "do the job", "as well as")
    )
    return (natural or others or same) and not told.has(NOT - {"nothing"})


def _harmless(told: Told) -> bool:
    """Check for a warning, a decision left to a doctor, or an object that is no treatment."""
    if told.has(_NO_TREATMENT):
        return True
    if told.says("ask before", "ask first", "check before", "check first"):
        return True
    if told.has(ASKING_FIRST) and told.has(_DOCTORS | {"label", "leaflet", "advice"}):
        return True
    if told.has(_FINE) and told.has(_STOP):
        return False
    if told.says("see a doctor", "see your doctor", "see a gp"):
        return True
    decides = any(told.after(at, _MAY, 3) for at in told.at(_DOCTORS))
    says_so = told.says("doctor tells", "doctor says", "doctor has told", "told you to", "as your")
    warns = told.has(_WARNS) and not told.says("no harm", "no risk")
    conditional = told.starts(GENERAL | {"if", "when"}) and not told.has(_FINE)
    return decides or says_so or warns or conditional
