"""Check a health record for reasons against a medicine: allergies and documented prohibitions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from galenic.record.facts import Fact
from galenic.record.medicines import Medicine, groups, medicines, named_in

__all__ = ["Against", "said_against"]

DO = "Do not take it before a pharmacist or your doctor has checked."
"""Advice that follows each warning."""
_TOO_WIDE = frozenset({"antibiotic", "sedating", "supplement", "vitamin", "mineral", "antiviral"})
"""Medicine groups so broad that an allergy to one member says nothing about the others."""


@dataclass(frozen=True)
class Against:
    """A reason in a record against a medicine.

    Attributes:
        fact: The allergy, or the medicine that must not be given.
        text: The warning for the reader.
    """

    fact: Fact
    text: str


def said_against(question: str, facts: Sequence[Fact]) -> Iterator[Against]:
    """Yield a warning for each fact of a record that speaks against a medicine in a question.

    For the question "Can I take amoxicillin?" and the fact of an allergy to penicillin, the warning
    says that amoxicillin is of the same kind.

    Args:
        question: The question in the person's own words.
        facts: Facts of the record. Besides allergies that hold, only medicines that must not be
            given count.

    Yields:
        At most one warning per fact.
    """
    asked = named_in(question)
    for fact in facts:
        prohibited = fact.kind == "medicine" and fact.detail == "not to be given"
        if not prohibited and not (fact.kind == "allergy" and fact.state == "holds"):
            continue
        for medicine, said in asked.items():
            if how := _how(fact, medicine):
                yield Against(fact, f"Your record says: {fact.text}. {_named(said, how)}{DO}")
                break


def _named(said: str, how: str) -> str:
    """Return the sentence that relates a medicine to the fact; empty if the fact is about itself.

    Args:
        said: The name that the question uses.
        how: The relation, from `_how`.
    """
    return f"{said.capitalize()} {how}. " if how != "is it" else ""


def _how(fact: Fact, medicine: Medicine) -> str:
    """Return how a medicine relates to the substance of a fact.

    Returns:
        "is it" for the same substance, "is of the same kind: ..." for one of the same group, or an
            empty string for neither.
    """
    about = {one for name in fact.names for one in named_in(name)}
    if medicine in about or any(name.lower() in _plain(fact) for name in medicine.names):
        return "is it"
    shared = {g for one in about for g in one.groups} | _groups(fact)
    for group in medicine.groups:
        if group in shared - _TOO_WIDE:
            return f"is of the same kind: {groups().get(group, group)}"
    return ""


def _plain(fact: Fact) -> set[str]:
    """Return the names of the substance of a fact in lower case."""
    return {name.lower().strip() for name in fact.names}


def _groups(fact: Fact) -> set[str]:
    """Return the medicine groups that an allergy names directly, such as ``penicillin``."""
    said = " ".join(fact.names).lower()
    known = {group for one in medicines() for group in one.groups}
    aliases = {"sulfa": "sulfonamide", "sulpha": "sulfonamide", "statins": "statin"}
    found = {group for group in known if group.replace("-", " ") in said}
    return found | {group for word, group in aliases.items() if word in said}
