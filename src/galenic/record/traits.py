"""What a name, a code or a medicine of a record makes of the person (``traits.yaml``)."""

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
"""Names of findings that are about somebody else, or about what may come."""
_DENIED = re.compile(
    r"(?:\b(?:no|not|non|without|absence of|never|negative for|denies)"
    r"(?: (?:a|any|known|current|currently|evidence of|history of|personal history of))*[ -])$"
)
"""What stands directly before a word in a name that denies it by itself: "Not pregnant"."""
_PAST = re.compile(r"^(?:personal )?(?:history of|h/o|hx of|past|previous|status post|s/p)\b")


class Trait(BaseModel):
    """A row of the file."""

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
    trait: Trait
    named: re.Pattern[str] | None
    medicine: re.Pattern[str] | None
    against: re.Pattern[str] | None


@cache
def traits() -> Mapping[str, Trait]:
    """The file, read and checked."""
    return {name: one.trait for name, one in _ready().items()}


def traits_of(kind: str, names: Iterable[str], codes: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The traits that a resource gives the person, if its status says that it holds.

    Args:
        kind: type of the resource.
        names: all that its code or medicine is called.
        codes: their systems and codes.
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
    """Whether the name of a finding is that of something that was: "History of ..."."""
    return bool(_PAST.match(name.lower().strip()))


def _named(one: _Ready, text: str, groups: Iterable[str], *, medicine: bool) -> bool:
    if one.against is not None and one.against.search(text):
        return False
    if medicine:
        listed = one.medicine is not None and one.medicine.search(text) is not None
        return listed or bool(one.trait.groups & set(groups))
    if one.named is None or _OTHERS.match(text):
        return False
    return any(not _DENIED.search(text[: found.start()]) for found in one.named.finditer(text))


def _coded(trait: Trait, codes: Iterable[tuple[str, str]]) -> bool:
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
    """Any of the words, from the begin of a word; with ``$`` the whole word."""
    every = [
        re.escape(word.removesuffix("$")) + (r"\b" if word.endswith("$") else "") for word in words
    ]
    return re.compile(rf"(?<![a-z0-9])(?:{'|'.join(every)})") if every else None
