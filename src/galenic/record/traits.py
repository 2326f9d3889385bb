"""Derive traits of a person, such as ``pregnancy``, from entries of a health record.

``traits.yaml`` lists, for each trait, the names, codes and medicines that imply it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from galenic.record.medicines import named_in

__all__ = ["Trait", "traits", "traits_of"]

_OTHERS = re.compile(
    r"^(?:family history|fh|fhx|screening|screen|encounter for screening|risk of|at risk|fear of|"
    r"maternal history|exposure to|contact with|vaccination against|prophylaxis against|"
    r"counsell?ing about|education about)\b"
)
"""Beginnings of names of findings about other people, or about a possible future condition."""
_DENIED = re.compile(
    r"(?:\b(?:no|not|non|without|absence of|never|negative for|denies)"
    r"(?: (?:a|any|known|current|currently|evidence of|history of|personal history of))*[ -])$"
)
"""A negation directly before a word in a name, such as "not" in "Not pregnant"."""
_PAST = re.compile(r"^(?:personal )?(?:history of|h/o|hx of|past|previous|status post|s/p)\b")
"""Beginnings of names of past conditions."""


class Trait(BaseModel):
    """A row of ``traits.yaml``: a trait and the entries of a record that imply it.

    Attributes:
        says: Description of the trait for the reader.
        words: Beginnings of words in the name of a condition or procedure; a trailing ``$``
            requires the whole word, and a leading ``-`` excludes names with this word.
        icd10: Prefixes of ICD-10 codes.
        snomed: SNOMED CT codes.
        atc: Prefixes of ATC codes.
        groups: Ids of medicine groups, as in ``medicines.yaml``.
        medicines: Beginnings of further names of medicines.
        days: Number of days after which the trait ends if the record gives no end; None for no
            limit.
        lasting: Whether it still holds if the record marks the entry as over (a transplant).
        kinds: Resource types that can imply it (key ``from``); empty for all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    says: str
    words: tuple[str, ...] = ()
    icd10: tuple[str, ...] = ()
    snomed: frozenset[str] = frozenset()
    atc: tuple[str, ...] = ()
    groups: frozenset[str] = frozenset()
    medicines: tuple[str, ...] = ()
    days: int | None = None
    lasting: bool = False
    kinds: tuple[str, ...] = Field((), alias="from")


@dataclass(frozen=True)
class _Ready:
    """A trait with compiled patterns.

    Attributes:
        trait: The row of ``traits.yaml``.
        named: Names of conditions and procedures that imply it.
        medicine: Names of medicines that imply it.
        against: Names that exclude it.
    """

    trait: Trait
    named: re.Pattern[str] | None
    medicine: re.Pattern[str] | None
    against: re.Pattern[str] | None


@cache
def traits() -> Mapping[str, Trait]:
    """Return the rows of ``traits.yaml`` by the name of the trait."""
    return {name: one.trait for name, one in _ready().items()}


def traits_of(kind: str, names: Iterable[str], codes: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the names of the traits that an entry of a record implies.

    Whether the entry holds is not considered here. The condition "Type 2 diabetes" implies
    ``("diabetes",)``; "Family history of diabetes" implies nothing.

    Args:
        kind: FHIR resource type, such as ``Condition``.
        names: All names of its code or medicine.
        codes: Pairs of a coding system (lower-case URI) and a code.
    """
    said = [" ".join(name.lower().replace("_", " ").split()) for name in names]
    medicine = kind.startswith("Medication")
    groups = {g for name in names for one in named_in(name) for g in one.groups} if medicine else ()
    return tuple(
        name
        for name, one in _ready().items()
        if (not one.trait.kinds or kind in one.trait.kinds)
        and (
            _coded(one.trait, codes)
            or any(_named(one, text, groups, medicine=medicine) for text in said)
        )
    )


def is_past(name: str) -> bool:
    """Check whether the name of a finding marks it as past ("History of ...")."""
    return bool(_PAST.match(name.lower().strip()))


def _named(one: _Ready, text: str, groups: Iterable[str], *, medicine: bool) -> bool:
    """Check whether a name implies a trait.

    Args:
        one: The trait.
        text: The name, in lower case.
        groups: Medicine groups of the entry.
        medicine: Whether the name is that of a medicine.
    """
    if one.against is not None and one.against.search(text):
        return False
    if medicine:
        listed = one.medicine is not None and one.medicine.search(text) is not None
        return listed or bool(one.trait.groups & set(groups))
    if one.named is None or _OTHERS.match(text):
        return False
    return any(not _DENIED.search(text[: found.start()]) for found in one.named.finditer(text))


def _coded(trait: Trait, codes: Iterable[tuple[str, str]]) -> bool:
    """Check whether one of the codes, given with their systems, implies a trait."""
    for system, code in codes:
        plain = code.upper().replace(".", "")
        if "icd-10" in system or "icd10" in system:
            if any(plain.startswith(begin.replace(".", "")) for begin in trait.icd10):
                return True
        elif "snomed" in system:
            if code in trait.snomed:
                return True
        elif ("atc" in system or "whocc" in system) and plain.startswith(trait.atc or ("?",)):
            return True
    return False


@cache
def _ready() -> Mapping[str, _Ready]:
    """Load ``traits.yaml`` and compile its patterns."""
    text = files("galenic.record").joinpath("traits.yaml").read_text("utf-8")
    raw: dict[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    found = {name: Trait.model_validate(row) for name, row in raw.items()}
    return {
        name: _Ready(
            trait,
            _any([word for word in trait.words if not word.startswith("-")]),
            _any(trait.medicines),
            _any([word[1:] for word in trait.words if word.startswith("-")]),
        )
        for name, trait in found.items()
    }


def _any(words: Iterable[str]) -> re.Pattern[str] | None:
    """Compile words into one pattern that matches at word starts; ``$`` requires the whole word.

    Returns None for an empty list.
    """
    every = [
        re.escape(word.removesuffix("$")) + (r"\b" if word.endswith("$") else "") for word in words
    ]
    return re.compile(rf"(?<![a-z0-9])(?:{'|'.join(every)})") if every else None
