"""Convert facts of a health record into triage concepts, population groups and ages.

Only facts that still apply contribute, and they can only raise the tier: they add a population
group (for example ``pregnant``) or a risk factor that makes a symptom more dangerous (for example a
blood thinner). A diagnosis in a record is never treated as a current symptom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from galenic.assistant.triage.reading import MOST_ASIDES, Reading
from galenic.assistant.triage.rules import Prepared
from galenic.record.facts import Fact

__all__ = ["CONCEPTS", "add", "described", "known"]

CONCEPTS: Mapping[str, tuple[str, ...]] = {
    "pregnancy": ("pregnant",),
    "postpartum": ("postpartum", "clot_risk"),
    "breastfeeding": ("postpartum",),
    "kidney-disease": ("kidney_trouble",),
    "anticoagulant": ("blood_thinner",),
    "antiplatelet": ("blood_thinner",),
    "bleeding-disorder": ("blood_thinner",),
    "immunosuppressed": ("immunocompromised",),
    "immune-medicine": ("immunocompromised",),
    "immune-lasting": ("immunocompromised",),
    "cancer-therapy": ("immunocompromised", "cancer_known"),
    "cancer": ("cancer_known", "clot_risk"),
    "diabetes": ("diabetes",),
    "insulin": ("diabetes",),
    "asthma": ("asthma",),
    "catheter": ("catheter",),
    "clot": ("clot_risk",),
    "adrenal": ("adrenal",),
    "surgery": ("clot_risk",),
    "male": ("male",),
    "maoi": ("maoi",),
    "heart-failure": ("heart_failure",),
}
"""Mapping from traits of facts (keys of ``traits.yaml``) to concepts of ``rules.yaml``."""


def known(facts: Sequence[Fact], ready: Prepared) -> Reading:
    """Return a record's triage concepts, with the words of the record, and ages as a reading."""
    found = Reading()
    for fact in facts:
        found.months += fact.months
        words = "your record" if fact.kind == "person" else f"your record: {fact.text[:80]}"
        for trait in fact.traits:
            for concept in CONCEPTS.get(trait, ()):
                if concept in ready.rules.concepts:
                    found.say(concept, words, ready)
    return found


def add(whole: Reading, found: Reading, ready: Prepared) -> None:
    """Add the risk factors of a record to the reading of a message, in place.

    Concepts that only describe who the person is (`Prepared.quiet`, such as an age group) are left
    out.
    """
    for concept, words in found.words.items():
        if concept not in ready.quiet:
            said = whole.words.setdefault(concept, [])
            said += [word for word in words if word not in said][: MOST_ASIDES - len(said)]
            whole.here.add(concept)


def described(people: Sequence[str], found: Reading, ready: Prepared) -> tuple[str, ...]:
    """Describe population groups for the reader, with the evidence from the record."""
    return tuple(_words(name, found, ready) for name in people)


def _words(name: str, found: Reading, ready: Prepared) -> str:
    group = ready.rules.populations[name]
    text = group.says or name.replace("_", " ")
    said = [words for concept in group.concepts for words in found.words.get(concept, ())]
    return f"{text} ({'; '.join(dict.fromkeys(said))})" if said else text
