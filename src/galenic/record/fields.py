"""FHIR R4 data types, read without trust: what is missing or of another shape is empty.

Records that people have are seldom valid: a reader that refuses a resource for one missing field
(``subject``, say) would lose an allergy. What is there is read; what is not is counted elsewhere.
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
_TIMES = {1: "once", 2: "twice"}
_PLAIN = ("String", "Integer", "Boolean", "Decimal", "DateTime", "Date", "Time", "Instant")


@dataclass(frozen=True)
class Fields:
    """A JSON object of any shape."""

    content: Mapping[str, Any]

    def text(self, *names: str) -> str:
        """Text, number or truth value at a path; ``""`` when there is none."""
        value: Any = self.content
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, bool):
            return "yes" if value else "no"
        return str(value) if isinstance(value, str | int | float) else ""

    def is_true(self, name: str) -> bool:
        """Whether the field is ``true``."""
        return self.content.get(name) in (True, "true")

    def number(self, *names: str) -> float | None:
        """The number at a path."""
        try:
            found = float(self.text(*names))
        except ValueError:
            return None
        return found if abs(found) < 1e15 else None

    def part(self, name: str) -> Fields:
        """The object of this name, or the first of a list; empty when there is none."""
        return next(self.parts(name), Fields({}))

    def parts(self, name: str) -> Iterator[Fields]:
        """The objects of a list, or the one object."""
        value = self.content.get(name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping):
                yield Fields(item)

    def has(self, *names: str) -> bool:
        """Whether one of these fields is there and says something."""
        return any(self.content.get(name) not in (None, "", [], {}, False) for name in names)

    def concept(self, name: str) -> str:
        """A CodeableConcept in words: its text, else the display of a code, else the code."""
        return next(iter(self.names(name)), "")

    def concepts(self, name: str) -> list[str]:
        """Each CodeableConcept of a list in words."""
        found = (Fields({"one": part.content}).concept("one") for part in self.parts(name))
        return [text for text in found if text]

    def names(self, name: str) -> list[str]:
        """All that a CodeableConcept is called: its text, displays, and codes where it has none."""
        concept = self.part(name)
        codings = list(concept.parts("coding"))
        said = [concept.text("text"), *(coding.text("display") for coding in codings)]
        said = [words for words in said if words.strip()]
        codes = [coding.text("code") for coding in codings]
        return list(dict.fromkeys(said or [code for code in codes if code]))

    def codes(self, name: str) -> list[tuple[str, str]]:
        """The system and code of each coding, of every CodeableConcept of that name."""
        return [
            (coding.text("system").lower(), coding.text("code"))
            for concept in self.parts(name)
            for coding in concept.parts("coding")
        ]

    def status(self, name: str) -> str:
        """A status as its code in lower case, whether it is a code, a coding or a concept."""
        plain = self.text(name)
        codes = [code for _, code in self.codes(name) if re.fullmatch(r"[a-zA-Z-]+", code)]
        words = self.names(name)
        return (plain or next(iter(codes), "") or next(iter(words), "")).strip().lower()

    def day(self, *names: str) -> str:
        """The date part of the first of these fields that holds a date."""
        for name in names:
            found = self.text(name) or self.text(name, "start")
            if re.match(r"\d{4}", found):
                return found[:10]
        return ""

    def end(self, *names: str) -> str:
        """The last day that the first of these fields that has one holds; of a period its end."""
        for name in names:
            found = self.text(name, "end") or self.text(name)
            if re.match(r"\d{4}", found):
                return found[:10]
        return ""

    def quantity(self, name: str) -> str:
        """A value with its unit."""
        unit = self.text(name, "unit") or self.text(name, "code")
        value = self.text(name, "value")
        return f"{self.text(name, 'comparator')}{value} {unit}".strip() if value else ""

    def ratio(self, name: str) -> str:
        """A ratio, ``1:640`` or ``5 mg / 10 mL``."""
        part = self.part(name)
        over, under = part.quantity("numerator"), part.quantity("denominator")
        if not over or not under:
            return over
        plain = " " not in over and " " not in under
        return f"{over}:{under}" if plain else f"{over} / {under}"

    def range(self, name: str) -> str:
        """A range, ``70 to 180 mg/dL``; an open one as ``from`` or ``up to``."""
        part = self.part(name)
        low, high = part.quantity("low"), part.quantity("high")
        if low and high:
            unit = high.partition(" ")[2]
            if unit and low.partition(" ")[2] == unit:
                low = low.partition(" ")[0]
            return f"{low} to {high}"
        return f"from {low}" if low else f"up to {high}" if high else ""

    def value(self, absent: str = "dataAbsentReason") -> str:
        """A ``value[x]`` of any type; where there is none, why: ``no value (haemolysed)``."""
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
        begin, end = self.text(name, "start")[:10], self.text(name, "end")[:10]
        return " to ".join(part for part in (begin, end) if part)

    def dose(self) -> str:
        """A Dosage in words: its own text, else amount, timing and way of taking it."""
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
        """A Timing: ``twice a day``, ``every 8 hours``, or what its code is called."""
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
    """The day of a FHIR date; of a month or a year its first day, or its last one."""
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
