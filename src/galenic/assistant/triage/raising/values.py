"""Triage of measured values, such as a temperature or a blood pressure, by thresholds.

`galenic.assistant.triage.words.measures` extracts the values; ``data/thresholds.yaml`` holds the
thresholds.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from galenic.assistant.triage.result import Finding
from galenic.assistant.triage.rules import Source
from galenic.assistant.triage.said import Said
from galenic.assistant.triage.words.measures import Measured

__all__ = ["find", "implied"]

BABY_MONTHS = 6.0
"""Age in months that is assumed for an infant whose age is not stated."""
ADULT_MONTHS = 480.0
_DO = {
    "emergency": "Call your emergency number now, or go to an emergency department. If you doubt "
    "the device, measure once more, but do not wait for that if the person looks ill.",
    "today": "Measure once more, and speak to a doctor or a nurse line today.",
    "days": "Arrange to see a doctor or nurse within a few days.",
}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Band(_Strict):
    """A range of values that leads to a tier, for some people and under some conditions.

    Attributes:
        at_least: Lower limit in the unit of the value; None for no limit.
        at_most: Upper limit; None for no limit.
        from_months: Minimum age in months.
        under_months: Maximum age in months (excluded).
        people: Population groups of which one must apply; empty for anyone.
        signs: Concepts, or names of `Thresholds.signs`, of which one must be present (key
            ``with``); empty if none is needed.
        with_said: Literal strings of which one must appear in the text; empty if none is needed.
        unless: Literal strings that must not appear in the text.
        tier: The tier that the range leads to.
        reason: Why, in plain words for the reader.
        source: Key of a source.
    """

    at_least: float | None = None
    at_most: float | None = None
    from_months: float = 0
    under_months: float = float("inf")
    people: tuple[str, ...] = ()
    signs: tuple[str, ...] = Field((), alias="with")
    with_said: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    tier: Literal["emergency", "today", "days"]
    reason: str = Field(pattern=r"\.$")
    source: str

    def holds(self, value: float) -> bool:
        """Check whether a value lies within the limits."""
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )


class Thresholds(_Strict):
    """Contents of ``data/thresholds.yaml``."""

    sources: dict[str, Source]
    signs: dict[str, tuple[str, ...]]
    values: dict[str, tuple[Band, ...]]


def find(said: Said) -> list[Finding]:
    """Return the findings for the measured values of a text, at most one per value."""
    plain = said.text.casefold()
    months = _months(said)
    found: list[Finding] = []
    if said.reading.general:
        return found
    for measured in said.measured:
        for band in thresholds().values[measured.kind]:
            fits = band.holds(measured.value) and _is_of(band, months, said.people)
            if fits and _is_so(band, said, plain):
                found.append(_finding(band, measured))
                break
    return found


def implied(measured: Collection[Measured]) -> dict[str, str]:
    """Return the concepts that measured values imply, with the words of the value.

    "Temp is 39.2" implies ``fever`` and ``fever_39``.
    """
    found = {}
    for one in measured:
        for concept, kind, low, high in _IMPLIED:
            if one.kind == kind and low <= one.value <= high:
                found[concept] = one.words
    return found


_IMPLIED = (
    ("fever", "temperature", 38.0, 43.5),
    ("fever_39", "temperature", 39.0, 43.5),
    ("very_high_fever", "temperature", 39.5, 43.5),
    ("low_sugar", "glucose", 0.5, 3.9),
    ("high_sugar", "glucose", 14.0, 60.0),
    ("high_bp", "systolic", 140.0, 300.0),
    ("bp_crisis", "systolic", 180.0, 300.0),
    ("bp_crisis", "diastolic", 120.0, 190.0),
    ("ketones", "ketones", 3.0, 15.0),
)


def _months(said: Said) -> float:
    if said.months:
        return min(said.months)
    if "young_infant" in said.people:
        return 1.0
    return BABY_MONTHS if "infant" in said.people else ADULT_MONTHS


def _is_of(band: Band, months: float, people: Collection[str]) -> bool:
    if not band.from_months <= months < band.under_months:
        return False
    return not band.people or bool(set(band.people) & set(people))


def _is_so(band: Band, said: Said, plain: str) -> bool:
    if band.signs:
        wanted = {c for name in band.signs for c in thresholds().signs.get(name, (name,))}
        if not wanted & set(said.reading.words):
            return False
    if band.with_said and not any(words in plain for words in band.with_said):
        return False
    return not any(words in plain for words in band.unless)


def _finding(band: Band, measured: Measured) -> Finding:
    source = thresholds().sources[band.source]
    name = f"value-{measured.kind}-{band.tier}"
    return Finding(
        name, band.tier, band.reason, _DO[band.tier], source, (measured.words,), "values"
    )


@cache
def thresholds() -> Thresholds:
    """Load and validate ``data/thresholds.yaml``."""
    path = files("galenic.assistant.triage").joinpath("data/thresholds.yaml")
    return Thresholds.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
