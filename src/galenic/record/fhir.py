"""Health records as hospitals and apps export them: FHIR R4 (http://hl7.org/fhir/R4/).

Each resource becomes plain lines with a date, and a fact with a type. Names, addresses and numbers
of the patient are not taken over: no answer needs them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date

from galenic.record.bundle import read_resources
from galenic.record.facts import Fact, settle
from galenic.record.lines import LINES, Reader, RecordEntry, entries
from galenic.record.status import state_of
from galenic.retrieval.documents.base import Document, DocumentLine, SkipError, clean

__all__ = ["HealthRecord", "read_fhir", "read_record"]

_HELPERS = ("Medication", "Bundle", "Parameters")
"""Types that others refer to and that say nothing alone."""
_NOTHING = "FHIR without anything that is known"


@dataclass(frozen=True)
class HealthRecord:
    """A record as lines to read and to cite, and as facts."""

    document: Document
    facts: tuple[Fact, ...]


def read_fhir(raw: bytes, name: str) -> Document:
    """The lines of `read_record`.

    Raises:
        SkipError: as there, or nothing in it says anything.
    """
    document = read_record(raw, name).document
    if not document.lines:
        raise SkipError(_NOTHING)
    return document


def read_record(raw: bytes, name: str, today: date | None = None) -> HealthRecord:
    """Lines and facts of each resource of a known type; lines by type, oldest first.

    Args:
        raw: a bundle, list, single resource, array, or a resource on each line.
        name: of the file.
        today: the day that ages and weeks are counted to; None = today.

    Raises:
        SkipError: it is no JSON, or no FHIR, or has no resource of a type that is known.
    """
    now = today or date.today()
    resources = read_resources(raw)
    reader = Reader(resources, now)
    notes: Counter[str] = Counter(resources.notes)
    order = list(dict.fromkeys(heading for heading, _ in LINES.values()))
    found: list[tuple[int, str, DocumentLine]] = []
    facts: list[Fact] = []
    for resource in resources.every:
        kind = resource.text("resourceType")
        if kind not in LINES:
            if kind not in _HELPERS:
                label = clean(kind)[:40] or "none"
                notes[f"FHIR resources of unknown type ({label})"] += 1
            continue
        for entry in entries(resource, reader):
            facts += [entry.fact] if entry.fact is not None else []
            if line := _line(entry, LINES[kind][0]):
                found.append((order.index(line.heading), entry.day, line))
    notes += +reader.notes
    if sum(one.kind == "person" for one in facts) > 1:
        notes["patients besides the first: facts of all were taken together"] += 1
    if not any(one.text("resourceType") in LINES for one in resources.every):
        raise SkipError(_NOTHING)
    found.sort(key=lambda item: item[:2])
    right = [one for one in resources.every if state_of(one, now) != "wrong"]
    document = Document(f"Health record {clean(name)}", [line for _, _, line in found], notes)
    return HealthRecord(document, settle(facts, right, now))


def _line(entry: RecordEntry, heading: str) -> DocumentLine | None:
    text = clean(entry.text)
    return DocumentLine(text, f"date {entry.day or 'unknown'}", heading) if text else None
