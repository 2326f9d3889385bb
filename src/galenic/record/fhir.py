"""Read health records in FHIR R4 (http://hl7.org/fhir/R4/), as hospitals and apps export them.

Each resource becomes dated lines of plain text, and facts with a type. The name, address and
identifiers of the patient are left out, because no answer needs them.
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
"""Resource types that other resources refer to and that carry no information alone."""
_NOTHING = "FHIR without anything that is known"


@dataclass(frozen=True)
class HealthRecord:
    """A health record in two forms.

    Attributes:
        document: Lines of plain text, to be searched and cited.
        facts: Structured facts about the person.
    """

    document: Document
    facts: tuple[Fact, ...]


def read_fhir(raw: bytes, name: str) -> Document:
    """Read a FHIR record as a document; see `read_record`.

    Args:
        raw: Contents of the file.
        name: Name of the file.

    Raises:
        SkipError: If it is not FHIR, or if no line can be read from it.
    """
    document = read_record(raw, name).document
    if not document.lines:
        raise SkipError(_NOTHING)
    return document


def read_record(raw: bytes, name: str, today: date | None = None) -> HealthRecord:
    """Read a FHIR record as lines of text and as facts.

    Args:
        raw: A bundle, a list, a single resource, a JSON array, or one resource per line (NDJSON).
        name: Name of the file.
        today: Date to which ages and weeks are computed; None uses the system clock.

    Returns:
        The lines grouped by resource type and sorted by date, oldest first, and the facts. What
            could not be read is counted in ``document.notes``.

    Raises:
        SkipError: If it is not JSON, not FHIR, or has no resource of a supported type.
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
    """Convert an entry to a line of a document; None if it has no text."""
    text = clean(entry.text)
    return DocumentLine(text, f"date {entry.day or 'unknown'}", heading) if text else None
