"""What a record says against a medicine that a question names: an allergy, or a prohibition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from galenic.record.facts import Fact
from galenic.record.medicines import Medicine, groups, medicines, named_in

__all__ = ["Against", "said_against"]

DO = "Do not take it before a pharmacist or your doctor has checked."
_TOO_WIDE = frozenset({"antibiotic", "sedating", "supplement", "vitamin", "mineral", "antiviral"})
"""Groups whose members have little in common: an allergy to one says nothing of the others."""


@dataclass(frozen=True)
class Against:
    """A fact of the record that speaks against a medicine, and the words for the reader."""

    fact: Fact
    text: str


def said_against(question: str, facts: Sequence[Fact]) -> Iterator[Against]:
    """Each fact that speaks against a medicine that the question names, once.

    Args:
        question: in a person's own words.
        facts: of the record; those that it denies or that are over say nothing against anything,
            save for a medicine that must not be given.
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
    return f"{said.capitalize()} {how}. " if how != "is it" else ""


def _how(fact: Fact, medicine: Medicine) -> str:
    """How a medicine is what the fact is about; empty if it is not."""
    about = {one for name in fact.names for one in named_in(name)}
    if medicine in about or any(name.lower() in _plain(fact) for name in medicine.names):
        return "is it"
    shared = {g for one in about for g in one.groups} | _groups(fact)
    for group in medicine.groups:
        if group in shared - _TOO_WIDE:
            return f"is of the same kind: {groups().get(group, group)}"
    return ""


def _plain(fact: Fact) -> set[str]:
    return {name.lower().strip() for name in fact.names}


def _groups(fact: Fact) -> set[str]:
    """Groups that an allergy names by themselves: penicillin, sulfonamides, opioids."""
    said = " ".join(fact.names).lower()
    known = {group for one in medicines() for group in one.groups}
    aliases = {"sulfa": "sulfonamide", "sulpha": "sulfonamide", "statins": "statin"}
    found = {group for group in known if group.replace("-", " ") in said}
    return found | {group for word, group in aliases.items() if word in said}
