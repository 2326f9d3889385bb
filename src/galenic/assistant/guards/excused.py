"""What a phrase of the guards found, and is harmless by what else the sentence says."""

from __future__ import annotations

from galenic.assistant.guards.told import CARE, FOOD, MEDICINE, NOT, Told
from galenic.assistant.triage.words.wording import word_set

__all__ = ["excused"]

_THEM = word_set("it them these those this they half taking course without holiday dose doses")
_OLD = word_set("year years yr yrs yo month months week weeks day days old")
_AMOUNTS = word_set(
    "half quarter double twice triple extra another both second third whole higher mg"
)
_READER = word_set("you your youre youll i im me this that its it hes shes")


def excused(kind: str, told: Told) -> bool:
    """Whether a sentence that a phrase found is harmless after all.

    Args:
        kind: id of the guard.
        told: the sentence.
    """
    check = _BY_KIND.get(kind.removesuffix("-advice"))
    return check is not None and check(told)


def _dose(told: Told) -> bool:
    """Food, pulse and the label."""
    food = told.has(FOOD) and not told.has(MEDICINE)
    label = told.has(NOT) and told.has(word_set("label leaflet packet"))
    doctors = word_set("doctor doctors nurse specialist consultant")
    lead = any(told.after(at, word_set("may might will decides decide can"), 2)
               for at in told.at(doctors))  # fmt: skip
    asks = told.has(word_set("ask check talk")) and told.has(frozenset({"before"}))
    digits = any(token[0].isdecimal() for token in told.tokens)
    return (
        (food and _mild_units(told))
        or label
        or ((lead or asks) and not digits)
        or told.says("times a minute", "times per minute")
    )


def _mild_units(told: Told) -> bool:
    return not told.has(word_set("tablet tablets pill pills capsule capsules sachet capful iu"))


def _stopping(told: Told) -> bool:
    """No treatment, two medicines at once, the label, school."""
    school = told.has(word_set("school nursery")) and not told.has(MEDICINE)
    both = told.has(NOT) and told.has(frozenset({"together"}))
    label = told.has(NOT) and told.has(word_set("label leaflet packet"))
    asks = told.has(word_set("ask check")) and told.has(frozenset({"before"}))
    return school or both or label or asks


def _asked_stopping(told: Told) -> bool:
    """A question that names no treatment: "how do I stop my nose running"."""
    return not told.has(MEDICINE | _THEM | word_set("chemo treatment therapy dialysis implant"))


def _asked_dose(told: Told) -> bool:
    """A question on effects, on feelings or of what is taken already."""
    effects = told.says("side effect", "side effects", "feel like", "side effects of")
    hair = told.has(word_set("hair nails")) and told.has(word_set("cut wash dye"))
    takes = told.says("i take", "he takes", "she takes") and told.has(word_set("eat drink drive"))
    walk = told.says("for a walk", "dog for", "a bath", "a shower", "a rest", "a nap", "a break")
    asks = told.has(word_set("much many often dose doses dosage strength max maximum limit again "
                             "soon apart every more"))  # fmt: skip
    amount = any(
        (token[0].isdecimal() and not told.after(at, _OLD, 2)) or token in _AMOUNTS
        for at, token in enumerate(told.tokens)
    )
    works = told.says("kick in", "start to work", "take to work", "start working")
    food = told.says("with food", "with diet", "with exercise")
    if works or food or not (asks or amount):
        return (
            not told.has(word_set("change increase up raise lower reduce adjust split cut")) or food
        )
    return effects or hair or takes or (walk and not told.has(MEDICINE))


def _reassurance(told: Told) -> bool:
    """Said of an illness in general: "colds do not need antibiotics"."""
    if told.starts(word_set("some")) and not told.has(_READER | CARE):
        return True
    return not told.has(_READER) and not told.has(CARE) and told.says(
        "need antibiotics", "need treatment", "needs treatment", "but not dangerous",
        "not dangerous in itself", "need an operation", "need surgery", "not always", "isnt always",
    )  # fmt: skip


def _asked_method(told: Told) -> bool:
    """ "How long before surgery do I stop eating"."""
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
