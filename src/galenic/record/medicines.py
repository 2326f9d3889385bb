"""Medicine names, brands and groups (``medicines.yaml``), and recognition of them in a text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

__all__ = ["Medicine", "drug_words", "groups", "medicines", "named_in"]

_WORD = re.compile(r"[^\W_]+(?:[-.'][^\W_]+)*")


@dataclass(frozen=True)
class Medicine:
    """A medicine.

    Attributes:
        id: Its id, such as ``ibuprofen``.
        names: Generic and brand names, with common misspellings.
        groups: Ids of its groups, such as ``nsaid``.
        kind: What it is for, such as "anti-inflammatory painkiller".
    """

    id: str
    names: tuple[str, ...]
    groups: tuple[str, ...]
    kind: str


@cache
def _file() -> Mapping[str, Any]:
    """Load ``medicines.yaml``."""
    text = files("galenic.record").joinpath("medicines.yaml").read_text("utf-8")
    found: Mapping[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return found


@cache
def medicines() -> tuple[Medicine, ...]:
    """Return all medicines in the order of the file."""
    return tuple(
        Medicine(one["id"], tuple(one["names"]), tuple(one.get("groups") or ()), one["class"])
        for one in _file()["medicines"]
    )


@cache
def groups() -> Mapping[str, str]:
    """Return the descriptions of medicine groups by id."""
    found: Mapping[str, str] = _file()["groups"]
    return found


@cache
def ambiguous() -> frozenset[str]:
    """Return the lower-case names that are also everyday words, such as "iron" or "yaz".

    They are not recognized as medicines by themselves.
    """
    return frozenset(name.lower() for name in _file()["ambiguous_names"])


@cache
def drug_words() -> frozenset[str]:
    """Return the one-word names of medicines that are not everyday words, in lower case."""
    names = {name.lower() for one in medicines() for name in one.names if " " not in name}
    plain = {name for name in names if re.fullmatch(r"[a-z]{4,}|[a-z]+-[a-z]+", name)}
    return frozenset(plain - ambiguous())


@cache
def _by_words() -> Mapping[str, list[tuple[tuple[str, ...], Medicine]]]:
    """Index the unambiguous names by their first word: the words of the name, and the medicine."""
    found: dict[str, list[tuple[tuple[str, ...], Medicine]]] = {}
    for medicine in medicines():
        for name in medicine.names:
            if name.lower() not in ambiguous() and (said := tuple(_words(name))):
                found.setdefault(said[0], []).append((said, medicine))
    return found


def named_in(text: str) -> dict[Medicine, str]:
    """Return the medicines that a text names, each with the name that was found.

    "Can I take Nurofen with aspirin?" gives ibuprofen with "nurofen" and aspirin with "aspirin".
    Where several names match, the longest is used.
    """
    said = _words(text)
    found: dict[Medicine, str] = {}
    at = 0
    while at < len(said):
        fitting = [
            (name, medicine)
            for key in {said[at], said[at].removesuffix("s")}
            for name, medicine in _by_words().get(key, ())
            if tuple(said[at + 1 : at + len(name)]) == name[1:]
        ]
        if not fitting:
            at += 1
            continue
        name, medicine = max(fitting, key=lambda one: len(one[0]))
        found.setdefault(medicine, " ".join(name))
        at += len(name)
    return found


def _words(text: str) -> list[str]:
    """Split a text into lower-case words."""
    return [word.lower() for word in _WORD.findall(text)]
