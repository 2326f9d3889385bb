"""What a health record says of the person, as the rules' own concepts and ages.

Only facts that hold count, and they can only raise the tier: a group of people that the person
belongs to, or something that makes a symptom more dangerous. What a record names is no complaint.
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
"""Traits of facts to concepts of ``rules.yaml``."""


def known(facts: Sequence[Fact], ready: Prepared) -> Reading:
    """The facts as a reading: concepts with the words of the record, and ages."""
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
    """Let what makes symptoms more dangerous count with the message; not who the person is."""
    for concept, words in found.words.items():
        if concept not in ready.quiet:
            said = whole.words.setdefault(concept, [])
            said += [word for word in words if word not in said][: MOST_ASIDES - len(said)]
            whole.here.add(concept)


def described(people: Sequence[str], found: Reading, ready: Prepared) -> tuple[str, ...]:
    """The groups of people in words for the reader, with what the record says of them."""
    return tuple(_words(name, found, ready) for name in people)


def _words(name: str, found: Reading, ready: Prepared) -> str:
    group = ready.rules.populations[name]
    text = group.says or name.replace("_", " ")
    said = [words for concept in group.concepts for words in found.words.get(concept, ())]
    return f"{text} ({'; '.join(dict.fromkeys(said))})" if said else text
