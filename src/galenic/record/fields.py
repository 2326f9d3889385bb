"""Read FHIR R4 data types leniently: a missing or malformed field reads as empty.

Real records are seldom valid. A reader that rejects a resource because of one missing field, such
as ``subject``, could lose an allergy. Callers count what could not be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

__all__ = ["Fields", "as_date"]

_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_UNITS = {
    "s": "second", "min": "minute", "h": "hour", "d": "day", "wk": "week", "mo": "month",
    "a": "year",
}  # fmt: skip
"""Units of time of FHIR (UCUM) in words."""
_TIMES = {1: "once", 2: "twice"}
"""Words for small frequencies."""
_PLAIN = ("String", "Integer", "Boolean", "Decimal", "DateTime", "Date", "Time", "Instant")
"""Suffixes of ``value[x]`` fields that hold a simple value."""


@dataclass(frozen=True)
class Fields:
    """A JSON object, such as a FHIR resource or a part of one, with lenient accessors.

    Attributes:
        content: The object as parsed; unknown or invalid fields are allowed.
    """

    content: Mapping[str, Any]

    def text(self, *names: str) -> str:
        """Return the text, number or boolean at a path of field names as a string.

        Booleans become "yes" and "no"; a missing or nested value gives an empty string.
        ``Fields({"period": {"start": "2020"}}).text("period", "start")`` is "2020".
        """
        value: Any = self.content
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, bool):
            return "yes" if value else "no"
        return str(value) if isinstance(value, str | int | float) else ""

    def is_true(self, name: str) -> bool:
        """Check whether a field is ``true``."""
        return self.content.get(name) in (True, "true")

    def number(self, *names: str) -> float | None:
        """Return the number at a path of field names, or None if there is none."""
        try:
            found = float(self.text(*names))
        except ValueError:
            return None
        return found if abs(found) < 1e15 else None

    def part(self, name: str) -> Fields:
        """Return a field's object (of a list the first), with no fields if there is none."""
        return next(self.parts(name), Fields({}))

    def parts(self, name: str) -> Iterator[Fields]:
        """Yield the objects of a list field, or the single object."""
        value = self.content.get(name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping):
                yield Fields(item)

    def has(self, *names: str) -> bool:
        """Check whether any of the fields has a value other than null, false or empty."""
        return any(self.content.get(name) not in (None, "", [], {}, False) for name in names)

    def concept(self, name: str) -> str:
        """Return a CodeableConcept as text: its text, else a display name, else a code."""
        return next(iter(self.names(name)), "")

    def concepts(self, name: str) -> list[str]:
        """Return the text of each CodeableConcept of a list."""
        found = (Fields({"one": part.content}).concept("one") for part in self.parts(name))
        return [text for text in found if text]

    def names(self, name: str) -> list[str]:
        """Return the names of a CodeableConcept: text and display names, else its codes."""
        concept = self.part(name)
        codings = list(concept.parts("coding"))
        said = [concept.text("text"), *(coding.text("display") for coding in codings)]
        said = [words for words in said if words.strip()]
        codes = [coding.text("code") for coding in codings]
        return list(dict.fromkeys(said or [code for code in codes if code]))

    def codes(self, name: str) -> list[tuple[str, str]]:
        """Return pairs of lower-case system and code of all CodeableConcepts in a field."""
        return [
            (coding.text("system").lower(), coding.text("code"))
            for concept in self.parts(name)
            for coding in concept.parts("coding")
        ]

    def status(self, name: str) -> str:
        """Return a status in lower case, whether it is given as a code, a coding or a concept."""
        plain = self.text(name)
        codes = [code for _, code in self.codes(name) if re.fullmatch(r"[a-zA-Z-]+", code)]
        words = self.names(name)
        return (plain or next(iter(codes), "") or next(iter(words), "")).strip().lower()

    def day(self, *names: str) -> str:
        """Return the date, or the start of the period, in the first field that has one.

        Args:
            names: Names of the fields to try.

        Returns:
            A date as in the record, without a time: ``2020``, ``2020-03`` or ``2020-03-04``; empty
                if there is none.
        """
        for name in names:
            found = self.text(name) or self.text(name, "start")
            if re.match(r"\d{4}", found):
                return found[:10]
        return ""

    def end(self, *names: str) -> str:
        """Return the date, or the end of the period, in the first field that has one; see `day`."""
        for name in names:
            found = self.text(name, "end") or self.text(name)
            if re.match(r"\d{4}", found):
                return found[:10]
        return ""

    def quantity(self, name: str) -> str:
        """Return a Quantity as text, such as ``5.4 mmol/L``; empty if it has no value."""
        unit = self.text(name, "unit") or self.text(name, "code")
        value = self.text(name, "value")
        return f"{self.text(name, 'comparator')}{value} {unit}".strip() if value else ""

    def ratio(self, name: str) -> str:
        """Return a Ratio as text: ``1:640`` or ``5 mg / 10 mL``."""
        part = self.part(name)
        over, under = part.quantity("numerator"), part.quantity("denominator")
        if not over or not under:
            return over
        plain = " " not in over and " " not in under
        return f"{over}:{under}" if plain else f"{over} / {under}"

    def range(self, name: str) -> str:
        """Return a Range as text: ``70 to 180 mg/dL``, ``from 70 mg/dL`` or ``up to 180 mg/dL``."""
        part = self.part(name)
        low, high = part.quantity("low"), part.quantity("high")
        if low and high:
            unit = high.partition(" ")[2]
            if unit and low.partition(" ")[2] == unit:
                low = low.partition(" ")[0]
            return f"{low} to {high}"
        return f"from {low}" if low else f"up to {high}" if high else ""

    def value(self, absent: str = "dataAbsentReason") -> str:
        """Return a ``value[x]`` of any type as text.

        Args:
            absent: Name of the field that says why there is no value.

        Returns:
            The value, else the reason, as in ``no value (haemolysed)``, else an empty string.
        """
        found = (
            self.quantity("valueQuantity")
            or ", ".join(self.concepts("valueCodeableConcept"))
            or self.ratio("valueRatio")
            or self.range("valueRange")
            or next((text for name in _PLAIN if (text := self.text(f"value{name}"))), "")
            or self._period("valuePeriod")
            or self.text("valueSampledData", "data")
        )
        if found:
            return found
        why = self.concept(absent)
        return f"no value ({why})" if why else ""

    def _period(self, name: str) -> str:
        """Return a Period as text: ``2020-01-01 to 2020-02-01``."""
        begin, end = self.text(name, "start")[:10], self.text(name, "end")[:10]
        return " to ".join(part for part in (begin, end) if part)

    def dose(self) -> str:
        """Return a Dosage as text: its own text, else amount, timing and route."""
        if said := self.text("text") or self.text("patientInstruction"):
            return said
        given = self.part("doseAndRate")
        amounts = [
            given.quantity("doseQuantity") or self.quantity("doseQuantity"),
            given.range("doseRange") or self.range("doseRange"),
            given.quantity("rateQuantity") or given.ratio("rateRatio"),
        ]
        needed = "as needed" if self.is_true("asNeededBoolean") else ""
        why = self.concept("asNeededCodeableConcept")
        words = [
            *amounts,
            self.part("timing").timing(),
            self.concept("route"),
            needed or (f"as needed for {why}" if why else ""),
        ]
        return " ".join(word for word in words if word)

    def timing(self) -> str:
        """Return a Timing as text: ``twice a day``, ``every 8 hours``, or the name of its code."""
        repeat = self.part("repeat")
        times, period = repeat.number("frequency") or 1, repeat.number("period")
        unit = _UNITS.get(repeat.text("periodUnit"), "")
        if not period or not unit:
            return self.concept("code")
        often = _TIMES.get(int(times), f"{times:g} times")
        if period == 1:
            return f"{often} a{'n' if unit == 'hour' else ''} {unit}"
        every = f"every {period:g} {unit}s"
        return every if times == 1 else f"{often} {every}"


def as_date(text: str, *, last: bool = False) -> date | None:
    """Parse a FHIR date.

    Args:
        text: A date, a month or a year, such as ``2020-03``; a time after it is ignored.
        last: Whether a month or a year means its last day instead of its first one.

    Returns:
        The date, or None if the text does not begin with a valid one.
    """
    found = _DATE.match(text)
    if found is None:
        return None
    year, month, day = int(found[1]), int(found[2] or 0), int(found[3] or 0)
    month = month or (12 if last else 1)
    for try_day in [day] if day else [31, 30, 29, 28] if last else [1]:
        try:
            return date(year, month, try_day)
        except ValueError:
            continue
    return None
