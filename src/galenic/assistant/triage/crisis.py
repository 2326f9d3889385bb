"""What is said first to somebody who may end their life, or who fears that for somebody else.

Words and order are the same whatever the message names: nothing of it is repeated, a method does
not change them, and a retraction is answered in words and leaves the lines in place. The lines
stand in ``data/crisis.yaml``, each with the page that names it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from galenic.assistant.triage.result import Finding, Triage

__all__ = ["Crisis", "Line", "Number", "calls", "country_of", "crisis", "described", "lines"]

SELF_HARM = frozenset(
    {"suicidal", "self-harm", "classifier-self-harm", "language-suicide", "poisoning-many"}
)
"""Findings besides those of the layer ``self-harm`` that are cries for help, or may be."""
OPENING = "Thank you for saying this. You do not have to face it alone."
DANGER = (
    "If a life may be in danger now, or something has been taken or done, call {emergency} now, "
    "or go to an emergency department."
)
TALK = "Somebody is there to talk to, now:"
STAY = (
    "Try not to be alone, and put what could hurt you out of reach. If this is about somebody "
    "else, stay with them and call for them."
)
RETRACTED = (
    "You say that it was not meant, or is over. That is good to hear, and you need not explain. "
    "These lines are there all the same, should it come back."
)
_RETRACTION = re.compile(
    r"\b(?:(?:just|only|was|am|i'?m) (?:kidding|joking)|jk|(?:did|do)(?:n'?t| not) (?:really )?"
    r"mean (?:it|that)|was(?:n'?t| not) serious|not (?:being )?serious|changed my mind|never ?mind|"
    r"forget (?:it|that|what i)|(?:i'?m|i am|feel(?:ing)?) (?:fine|ok|okay|better|safe) now)\b",
    re.IGNORECASE,
)
_REGION = re.compile(r"(?:^|[-_])([A-Z]{2})(?![A-Za-z])")


class Line(BaseModel):
    """A line to call: where, its number, and the page that names it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    place: str
    name: str
    number: Annotated[str, Field(pattern=r"\d")]
    emergency: Annotated[str, Field(pattern=r"\d")]
    languages: tuple[str, ...]
    common: bool
    source: Annotated[str, Field(pattern=r"^https?://\S+$")]
    seen: date


class Number(BaseModel):
    """A number that sends an ambulance: where, and the page that names it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: Annotated[str, Field(pattern=r"^\d+$")]
    where: str
    countries: tuple[str, ...]
    source: Annotated[str, Field(pattern=r"^https?://\S+$")]
    seen: date


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    numbers: tuple[Number, ...]
    numbers_elsewhere: str
    emergency_anywhere: str
    elsewhere: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Crisis:
    """What to say before anything else.

    Attributes:
        text: in plain words, with the lines.
        lines: those that it names.
        alone: nothing else should be said: a life may be in danger.
    """

    text: str
    lines: tuple[Line, ...]
    alone: bool

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        kept = {"country", "place", "name", "number", "emergency"}
        return {"text": self.text, "lines": [one.model_dump(include=kept) for one in self.lines]}


def crisis(found: Triage, text: str, locale: str = "") -> Crisis | None:
    """What to say first; None where triage found no cry for help.

    Args:
        found: of the message.
        text: of the message, for a retraction in it.
        locale: of the reader, such as ``en-GB``, ``de_AT.UTF-8`` or the header Accept-Language;
            empty = not known.
    """
    cries = [one for one in found.findings if _is_cry(one)]
    if not cries:
        return None
    chosen = lines(country_of(locale))
    return Crisis(
        text=_text(cries, chosen, retracted=bool(_RETRACTION.search(text))),
        lines=chosen,
        alone=any(one.tier == "emergency" for one in cries),
    )


def country_of(locale: str) -> str:
    """The country of a locale, or of the first one in a header that names a country; else empty."""
    for part in locale.replace(";", ",").split(","):
        tag = part.strip().split(".")[0]
        if found := _REGION.search(tag):
            return found.group(1)
    return ""


def described(found: Triage, text: str, locale: str = "") -> dict[str, Any]:
    """For JSON: a cry for help before all else, numbers to call, and what triage found.

    Args:
        found: of the message.
        text: of the message.
        locale: of the reader, as in `crisis`.
    """
    cry = crisis(found, text, locale)
    first = {} if cry is None else {"crisis": cry.describe()}
    return {**first, **found.describe(), "calls": calls(locale)}


def calls(locale: str = "") -> dict[str, Any]:
    """Emergency numbers, the likely one of the reader's country first, and what to do elsewhere."""
    country = country_of(locale)
    every = sorted(_file().numbers, key=lambda one: country not in one.countries)
    numbers = [{"number": one.number, "where": one.where} for one in every]
    return {"numbers": numbers, "elsewhere": _file().numbers_elsewhere}


def lines(country: str = "") -> tuple[Line, ...]:
    """The lines of a country; of a country without one, or none, the most common ones."""
    every = _file().lines
    own = tuple(one for one in every if one.country == country)
    return own or tuple(one for one in every if one.common)


def _is_cry(finding: Finding) -> bool:
    return finding.layer == "self-harm" or finding.id in SELF_HARM


def _text(cries: Sequence[Finding], chosen: Sequence[Line], *, retracted: bool) -> str:
    known = _file()
    own = len({one.emergency for one in chosen}) == 1
    emergency = chosen[0].emergency if own else known.emergency_anywhere
    listed = [f"- {one.place}: {one.name}, {one.number}" for one in chosen]
    translated = [one.do for one in cries if one.layer == "languages"]
    parts = [
        *dict.fromkeys(translated),
        OPENING,
        *([RETRACTED] if retracted else []),
        DANGER.format(emergency=emergency),
        "\n".join([TALK, *listed, f"- {known.elsewhere}"]),
        STAY,
    ]
    return "\n\n".join(parts)


@cache
def _file() -> _File:
    text = files("galenic.assistant.triage").joinpath("data/crisis.yaml").read_text("utf-8")
    return _File.model_validate(yaml.safe_load(text))
