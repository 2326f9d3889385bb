"""Health records as hospitals and apps export them: FHIR R4 bundles (http://hl7.org/fhir/R4/).

Each resource becomes one plain line with its date. Names, addresses and numbers of the patient are
not taken over: no answer needs them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from galenic.assistant.record.fhir_lines import LINES, Facts
from galenic.retrieval.documents.base import Document, Line, SkipError, clean

__all__ = ["read_fhir"]

MOST_RESOURCES = 200_000
_CONTAINERS = ("Bundle",)


def read_fhir(raw: bytes, name: str) -> Document:
    """One line for each resource of a known type, by type, oldest first.

    Raises:
        SkipError: it is no JSON, or no FHIR, or has nothing in it that is known.
    """
    content = _parse(raw)
    if not isinstance(content, dict) or not isinstance(content.get("resourceType"), str):
        raise SkipError("JSON that is no FHIR resource")
    resources = [Facts(resource) for resource in _resources(content)]
    notes: Counter[str] = Counter()
    known = _index(resources)
    found: list[tuple[int, str, Line]] = []
    order = [heading for heading, _ in LINES.values()]
    for resource in resources:
        kind = resource.text("resourceType")
        if kind not in LINES:
            notes[f"FHIR resources of unknown type ({clean(kind)[:40] or 'none'})"] += 1
            continue
        heading, write = LINES[kind]
        for date, text in write(resource, known):
            line = clean(text)
            if line:
                place = f"date {date or 'unknown'}"
                found.append((order.index(heading), date, Line(line, place, heading)))
    for kind in _HELPERS:
        notes.pop(f"FHIR resources of unknown type ({kind})", None)
    if not found:
        raise SkipError("FHIR without anything that is known")
    found.sort(key=lambda item: item[:2])
    return Document(f"Health record {clean(name)}", [line for _, _, line in found], notes)


_HELPERS = ("Medication",)
"""Types that others refer to and that say nothing alone."""


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SkipError("damaged JSON") from error


def _resources(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if content["resourceType"] not in _CONTAINERS:
        yield content
        return
    entries = content.get("entry")
    for entry in (entries if isinstance(entries, list) else [])[:MOST_RESOURCES]:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict):
            url = entry.get("fullUrl")
            yield {**resource, "_url": url if isinstance(url, str) else ""}


def _index(resources: list[Facts]) -> dict[str, Facts]:
    """What a reference may call a resource: its full URL, or ``Type/id``."""
    known = {}
    for resource in resources:
        known[f"{resource.text('resourceType')}/{resource.text('id')}"] = resource
        if url := resource.text("_url"):
            known[url] = resource
    return known
