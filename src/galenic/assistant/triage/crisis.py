"""Crisis response: what to tell someone who may end their life, or who fears this for another.

The wording and its order do not depend on the message: none of it is repeated, and a mentioned
method changes nothing. A retraction ("I was joking") is acknowledged, and the crisis lines stay in
place. The lines are listed in ``data/crisis.yaml``, each with the page that publishes its number.
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
"""Ids of findings outside the layer ``self-harm`` that indicate a possible risk of suicide."""
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
    """A crisis line.

    Attributes:
        country: ISO 3166-1 alpha-2 code, such as ``GB``.
        place: Name of the country or region, for the reader.
        name: Name of the line.
        number: Its telephone number.
        emergency: The emergency number of the country.
        languages: Languages in which it can be called.
        common: Whether to show it if the country of the reader is unknown or has no line of its
            own.
        source: Page that publishes the number.
        seen: Day on which the page was checked.
    """

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
    """An emergency number that sends an ambulance."""

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
    """A crisis message, to be shown before anything else.

    Attributes:
        text: The message in plain words, including the crisis lines.
        lines: The lines that the message names.
        alone: Whether to show nothing besides it, because a life may be in danger now.
    """

    text: str
    lines: tuple[Line, ...]
    alone: bool

    def describe(self) -> dict[str, Any]:
        """Return the message and its lines as a JSON-serializable dictionary."""
        kept = {"country", "place", "name", "number", "emergency"}
        return {"text": self.text, "lines": [one.model_dump(include=kept) for one in self.lines]}


def crisis(found: Triage, text: str, locale: str = "") -> Crisis | None:
    """Return the crisis message for a triage result, or None if there is no sign of suicide risk.

    Args:
        found: Triage of the message.
        text: The message, which is searched for a retraction.
        locale: Locale of the reader, such as ``en-GB`` or ``de_AT.UTF-8``, or an Accept-Language
            header; empty if not known.
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
    """Return the country code of a locale or of an Accept-Language header; empty if it names none.

    ``en-GB`` and ``en, en-GB;q=0.8`` both give ``GB``.
    """
    for part in locale.replace(";", ",").split(","):
        tag = part.strip().split(".")[0]
        if found := _REGION.search(tag):
            return found.group(1)
    return ""


def described(found: Triage, text: str, locale: str = "") -> dict[str, Any]:
    """Return a triage result as JSON-serializable data, with crisis message and numbers to call."""
    cry = crisis(found, text, locale)
    first = {} if cry is None else {"crisis": cry.describe()}
    return {**first, **found.describe(), "calls": calls(locale)}


def calls(locale: str = "") -> dict[str, Any]:
    """Return the emergency numbers, the reader's own first, and advice for other countries."""
    country = country_of(locale)
    every = sorted(_file().numbers, key=lambda one: country not in one.countries)
    numbers = [{"number": one.number, "where": one.where} for one in every]
    return {"numbers": numbers, "elsewhere": _file().numbers_elsewhere}


def lines(country: str = "") -> tuple[Line, ...]:
    """Return the crisis lines of a country, or the most common ones if there are none for it."""
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
