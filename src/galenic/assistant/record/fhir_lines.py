"""How each type of FHIR R4 resource reads as plain text."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from typing import Any, TypeAlias

__all__ = ["LINES", "Facts", "Writer"]


@dataclass(frozen=True)
class Facts:
    """A JSON object of any shape, read without trust: what is not there or no text is empty."""

    content: Mapping[str, Any]

    def text(self, *names: str) -> str:
        """Text, number or truth value at a path; ``""`` when there is none."""
        value: Any = self.content
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, bool):
            return "yes" if value else "no"
        return str(value) if isinstance(value, str | int | float) else ""

    def part(self, name: str) -> Facts:
        """The object of this name, or the first of a list; empty when there is none."""
        return next(self.parts(name), Facts({}))

    def parts(self, name: str) -> Iterator[Facts]:
        """The objects of a list, or the one object."""
        value = self.content.get(name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping):
                yield Facts(item)

    def concept(self, name: str) -> str:
        """A CodeableConcept in words: its text, else the display of a code, else the code."""
        concept = self.part(name)
        codings = list(concept.parts("coding"))
        displays = [coding.text("display") for coding in codings]
        codes = [coding.text("code") for coding in codings]
        return concept.text("text") or next((name for name in [*displays, *codes] if name), "")

    def day(self, *names: str) -> str:
        """The date part of the first of these fields that holds a date."""
        for name in names:
            found = self.text(name) or self.text(name, "start")
            if re.match(r"\d{4}", found):
                return found[:10]
        return ""

    def quantity(self, name: str) -> str:
        """A value with its unit."""
        unit = self.text(name, "unit") or self.text(name, "code")
        return f"{self.text(name, 'comparator')}{self.text(name, 'value')} {unit}".strip()


Known: TypeAlias = Mapping[str, Facts]
"""Resources by what a reference may call them."""
Writer: TypeAlias = Callable[[Facts, Known], Iterator[tuple[str, str]]]
"""Gives lines, each with the date that it is sorted by (``""`` = unknown)."""


def _join(begin: str, *details: str) -> str:
    kept = [detail for detail in details if detail]
    return begin + (f" ({', '.join(kept)})" if kept else "") + "."


def _labelled(label: str, value: str) -> str:
    return f"{label} {value}" if value else ""


def _patient(resource: Facts, _: Known) -> Iterator[tuple[str, str]]:
    born = resource.day("birthDate")
    yield (
        "",
        _join(
            f"Patient: {resource.text('gender') or 'gender not stated'}",
            _labelled("born", born),
            _labelled("died", resource.day("deceasedDateTime")),
        ),
    )


def _condition(resource: Facts, _: Known) -> Iterator[tuple[str, str]]:
    since = resource.day("onsetDateTime", "onsetPeriod")
    recorded = resource.day("recordedDate")
    if name := resource.concept("code"):
        yield (
            since or recorded,
            _join(
                f"Condition: {name}",
                resource.concept("clinicalStatus"),
                resource.concept("verificationStatus"),
                _labelled("severity", resource.concept("severity")),
                _labelled("since", since),
                _labelled("recorded", recorded),
                _labelled("ended", resource.day("abatementDateTime", "abatementPeriod")),
            ),
        )


def _observation(resource: Facts, _: Known) -> Iterator[tuple[str, str]]:
    date = resource.day("effectiveDateTime", "effectivePeriod", "effectiveInstant", "issued")
    values = [f"{part.concept('code')} {_value(part)}" for part in resource.parts("component")]
    value = "; ".join(text.strip() for text in [_value(resource), *values] if text.strip())
    if name := resource.concept("code"):
        yield (
            date,
            _join(
                f"Observation {date}: {name}: {value or 'no value'}",
                resource.concept("interpretation"),
                _labelled("reference", _range(resource.part("referenceRange"))),
                "" if resource.text("status") in ("final", "") else resource.text("status"),
            ),
        )


def _value(resource: Facts) -> str:
    return (
        resource.quantity("valueQuantity")
        or resource.concept("valueCodeableConcept")
        or next(
            (
                text
                for name in ("String", "Integer", "Boolean", "DateTime")
                if (text := resource.text(f"value{name}"))
            ),
            "",
        )
    )


def _range(limits: Facts) -> str:
    low, high = limits.quantity("low"), limits.quantity("high")
    both = f"{low} to {high}" if low and high else ""
    return limits.text("text") or both or _labelled("from", low) or _labelled("up to", high)


def _medication(resource: Facts, known: Known) -> Iterator[tuple[str, str]]:
    name = resource.concept("medicationCodeableConcept")
    reference = resource.text("medicationReference", "reference")
    if not name and reference.startswith("#"):
        contained = (c for c in resource.parts("contained") if c.text("id") == reference[1:])
        name = next(contained, Facts({})).concept("code")
    elif not name and reference in known:
        name = known[reference].concept("code")
    name = name or resource.text("medicationReference", "display")
    date = resource.day("authoredOn", "effectiveDateTime", "effectivePeriod", "dateAsserted")
    asked = resource.text("resourceType") == "MedicationRequest"
    doses = [dose.text("text") for name in ("dosageInstruction", "dosage")
             for dose in resource.parts(name)]  # fmt: skip
    if name:
        yield (
            date,
            _join(
                f"Medication {date}: {name}",
                "prescribed" if asked else "taken",
                resource.text("status"),
                *doses,
                _labelled("for", resource.concept("reasonCode")),
            ),
        )


def _allergy(resource: Facts, _: Known) -> Iterator[tuple[str, str]]:
    date = resource.day("onsetDateTime", "recordedDate")
    reactions = [r.concept("manifestation") for r in resource.parts("reaction")]
    if name := resource.concept("code"):
        yield (
            date,
            _join(
                f"Allergy or intolerance: {name}",
                resource.concept("clinicalStatus"),
                _labelled("criticality", resource.text("criticality")),
                _labelled("reaction", " and ".join(filter(None, reactions))),
                _labelled("recorded", date),
            ),
        )


def _immunization(resource: Facts, _: Known) -> Iterator[tuple[str, str]]:
    date = resource.day("occurrenceDateTime") or resource.text("occurrenceString")
    if name := resource.concept("vaccineCode"):
        yield date, _join(f"Immunization {date}: {name}", resource.text("status"))


def _procedure(resource: Facts, _: Known) -> Iterator[tuple[str, str]]:
    date = resource.day("performedDateTime", "performedPeriod")
    if name := resource.concept("code"):
        yield (
            date,
            _join(
                f"Procedure {date}: {name}",
                resource.text("status"),
                _labelled("outcome", resource.concept("outcome")),
            ),
        )


def _report(resource: Facts, _: Known) -> Iterator[tuple[str, str]]:
    date = resource.day("effectiveDateTime", "effectivePeriod", "issued", "date")
    name = resource.concept("code") or resource.concept("type") or "document"
    said = [resource.text("conclusion"), resource.text("description")]
    attachments = list(resource.parts("presentedForm"))
    attachments += [content.part("attachment") for content in resource.parts("content")]
    bodies = [text for text in [*said, *map(_attached, attachments)] if text]
    for paragraph in "\n".join(bodies).splitlines():
        if paragraph.strip():
            yield date, f"Report {date}, {name}: {paragraph}"


def _attached(attachment: Facts) -> str:
    """An attachment that is text; others (PDF, pictures) are left to the user's own files."""
    kind = attachment.text("contentType").split(";")[0].strip().lower()
    if kind not in ("text/plain", "text/markdown", "text/html"):
        return ""
    try:
        raw = base64.b64decode(attachment.text("data"), validate=False)
    except (binascii.Error, ValueError):
        return ""
    text = raw.decode("utf-8", errors="replace")
    return unescape(re.sub(r"<[^<>]*>", " ", text)) if kind == "text/html" else text


LINES: dict[str, tuple[str, Writer]] = {
    "Patient": ("Patient", _patient),
    "Condition": ("Conditions", _condition),
    "AllergyIntolerance": ("Allergies", _allergy),
    "MedicationRequest": ("Medications", _medication),
    "MedicationStatement": ("Medications", _medication),
    "Observation": ("Observations and laboratory values", _observation),
    "Immunization": ("Immunizations", _immunization),
    "Procedure": ("Procedures", _procedure),
    "DiagnosticReport": ("Reports", _report),
    "DocumentReference": ("Reports", _report),
}
"""Type to the heading that its lines stand under, in the order of the document."""
