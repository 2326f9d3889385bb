"""Exceptions: sentences that contain a phrase of a guard but are harmless in context."""

from __future__ import annotations

from galenic.assistant.guards.told import CARE, FOOD, MEDICINE, NOT, Told, asks_why
from galenic.assistant.triage.words.wording import word_set

__all__ = ["excused"]

_THEM = word_set("it them these those this they half taking course without holiday dose doses")
_OLD = word_set("year years yr yrs yo month months week weeks day days old")
_AMOUNTS = word_set(
    "half quarter double twice triple extra another both second third whole higher mg"
)
"""Words that express an amount or a change of one in a question."""
_READER = word_set("you your youre youll i im me this that its it hes shes")


def excused(kind: str, told: Told) -> bool:
    """Check whether a sentence that contains a phrase of a guard is harmless in context.

    Args:
        kind: id of the guard, with the prefix "asked " for questions, such as ``asked stopping``.
        told: tokens of the sentence.
    """
    check = _BY_KIND.get(kind.removesuffix("-advice"))
    return check is not None and check(told)


def _dose(told: Told) -> bool:
    """Check for amounts that are not doses: of food, heart rates, or given by professionals.

    Advice to follow the label is harmless too.
    """
    given = told.says("may get", "may be given", "are given", "is given", "might be given")
    if (given and told.has(frozenset({"hospital"}))) or (
        told.has(word_set("fed feed feeds feeding")) and told.has(word_set("baby babies newborn"))
    ):
        return not told.has(word_set("mg ml tablet tablets"))
    food = told.has(FOOD) and not told.has(MEDICINE)
    label = told.has(NOT) and told.has(word_set("label leaflet packet"))
    doctors = word_set("doctor doctors nurse specialist consultant")
    lead = any(told.after(at, word_set("may might will decides decide can"), 2)
               for at in told.at(doctors))  # fmt: skip
    asks = told.has(word_set("ask check talk")) and told.has(frozenset({"before"}))
    digits = any(token[0].isdecimal() for token in told.tokens)
    forgot = told.starts(word_set("if when")) and told.has(word_set("forget forgot miss missed"))
    feeds = told.starts(word_set("feed bathe clean wash change swimming swim walk walking"))
    kept = told.has(word_set("cleaned washed replaced rinsed feed feeds diet")) and not told.has(
        word_set("tablet tablets pill pills take")
    )
    same = told.says("same time each day", "same time every day", "the same time")
    never = told.follow(word_set("never dont"), word_set("change double adjust increase"), 1)
    if feeds or kept or same or never or told.says("ml per minute", "ml a minute"):
        return not told.has(word_set("mg")) or kept
    warns = told.says("more than", "too much", "too many", "more than the") and told.has(
        word_set("damage damages harm harms danger dangerous poison overdose poisoning")
    )
    told_what = forgot and told.has(word_set("leaflet pharmacist ask doctor nurse"))
    elsewhere = told.has(word_set("appointment appointments rate rates")) and not told.has(MEDICINE)
    checked = told.has(
        word_set("checked tested measured weighed reviewed seen scanned")
    ) and told.has(word_set("weeks months years"))
    hours = told.has(word_set("open opens close closes closed")) and not told.has(
        MEDICINE | word_set("take takes taken taking dose doses mg ml")
    )
    if elsewhere or hours or (checked and not told.has(MEDICINE)):
        return True
    if not digits and (told_what or warns):
        return True
    return (
        (food and _mild_units(told))
        or told.says("with you to", "tablets with you", "medicines with you")
        or told.says("times higher", "times more likely", "times as likely", "times lower")
        or label
        or ((lead or asks) and not digits)
        or told.says("times a minute", "times per minute")
    )


def _mild_units(told: Told) -> bool:
    """Check that no unit of solid medicines ("tablet", "capsule", "iu") occurs."""
    return not told.has(word_set("tablet tablets pill pills capsule capsules sachet capful iu"))


def _stopping(told: Told) -> bool:
    """Check for stopping that is harmless: of school or work, decided by a doctor, or a warning."""
    forgot = told.starts(word_set("if when")) and told.has(word_set("forget forgot miss missed"))
    if forgot and told.has(word_set("leaflet pharmacist ask doctor nurse")):
        return True
    work = told.has(word_set("work school sport driving nursery cuff job"))
    if work and not told.has(MEDICINE | word_set("dose treatment")):
        return True
    doctors = word_set("surgeon consultant specialist doctor nurse team dentist")
    if any(told.after(at, word_set("will may might can decides"), 1) for at in told.at(doctors)):
        return True
    school = told.has(word_set("school nursery")) and not told.has(MEDICINE)
    both = told.has(NOT) and told.has(frozenset({"together"}))
    label = told.has(NOT) and told.has(word_set("label leaflet packet"))
    asks = told.has(word_set("ask check")) and told.has(frozenset({"before"}))
    return school or both or label or asks


def _asked_stopping(told: Told) -> bool:
    """Check for a question that names no treatment: "how do I stop my nose running"."""
    if asks_why(told):
        return True
    if told.follow(word_set("stop stops"), word_set("working absorbing growing"), 5):
        return True
    if told.has(word_set("hair nails")):
        return True
    return not told.has(MEDICINE | _THEM | word_set("chemo treatment therapy dialysis implant"))


_OF_MEDICINES = MEDICINE | word_set("""
dose doses dosage dosing mg mgs ml mls mils units puffs drops it them another more these those one
quanto quanti quante cuanto cuantos cuantas combien wieviel wieviele viele hoeveel strength
""")


def _asked_dose(told: Told) -> bool:
    """Check for a question about effects, meanings, or a dose that the user already takes."""
    if asks_why(told) or told.says("how many kinds", "how many types"):
        return True
    if told.has(word_set("donate")) or told.says("how much is a", "how much are", "come in a"):
        return True
    effects = told.says("side effect", "side effects", "feel like", "side effects of")
    hair = told.has(word_set("hair nails grass lawn hedge toenails")) and told.has(
        word_set("cut wash dye")
    )
    takes = told.says("i take", "he takes", "she takes") and told.has(word_set("eat drink drive"))
    if hair:
        return True
    walk = told.says("for a walk", "dog for", "a bath", "a shower", "a rest", "a nap", "a break")
    asks = told.has(word_set("much many often dose doses dosage strength max maximum limit again "
                             "soon apart every more"))  # fmt: skip
    amount = any(
        (token[0].isdecimal() and not told.after(at, _OLD, 2)) or token in _AMOUNTS
        for at, token in enumerate(told.tokens)
    )
    works = told.says("kick in", "start to work", "take to work", "start working")
    food = told.says("with food", "with diet", "with exercise")
    if not told.has(_OF_MEDICINES) and not amount:
        return True
    if works or food or not (asks or amount):
        return (
            not told.has(word_set("change increase up raise lower reduce adjust split cut")) or food
        )
    return effects or takes or (walk and not told.has(MEDICINE))


def _reassurance(told: Told) -> bool:
    """Check for a statement about an illness in general: "colds do not need antibiotics"."""
    if told.says("when you feel well", "when you feel ready", "when you feel better"):
        return not told.has(CARE | {"stop"})
    if told.starts(word_set("some")) and not told.has(_READER | CARE):
        return True
    return not told.has(_READER) and not told.has(CARE) and told.says(
        "need antibiotics", "need treatment", "needs treatment", "but not dangerous",
        "not dangerous in itself", "need an operation", "need surgery", "not always", "isnt always",
    )  # fmt: skip


def _asked_method(told: Told) -> bool:
    """Check for a question about fasting before a procedure, or about a pet.

    Example: "how long before surgery do I stop eating".
    """
    if told.has(word_set("cat dog pet rabbit horse hamster puppy kitten")) and not told.has(
        word_set("me myself")
    ):
        return True
    fasting = told.has(word_set("surgery operation test anaesthetic scan colonoscopy"))
    return fasting and told.has(word_set("eating eat fast fasting drinking"))


_BY_KIND = {
    "asked self-harm": _asked_method,
    "dose": _dose,
    "stopping": _stopping,
    "reassurance": _reassurance,
    "change-of-dose": _asked_dose,
    "asked stopping": _asked_stopping,
}
