"""The resources of a record, however it was exported, and what their references name.

Bundles (of any type, nested ones too), lists, FHIR bulk files (a resource on each line), arrays,
Parameters and single resources of FHIR R4 (http://hl7.org/fhir/R4/).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from galenic.record.fields import Fields
from galenic.retrieval.documents.base import SkipError

__all__ = ["Resources", "read_resources"]

MOST_RESOURCES = 200_000
DEEPEST = 8
"""Bundles within bundles."""
_OLDEST = ("", 0.0)
_HOLDERS = ("Bundle", "List", "Parameters")


@dataclass
class Resources:
    """What a record holds.

    Attributes:
        every: the resources, in the order of the file, each once, in its newest version.
        notes: what could not be read, by kind, with counts.
        named: resources by what a reference may call them.
    """

    every: list[Fields] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    named: dict[str, Fields] = field(default_factory=dict)

    def target(self, owner: Fields, reference: str) -> Fields:
        """What a reference of a resource names; empty when it is not in the record.

        Contained resources (``#id``), full URLs, ``Type/id``, versions (``/_history/2``) and
        addresses of other servers, of which the type and the id count.
        """
        if reference.startswith("#"):
            contained = (c for c in owner.parts("contained") if c.text("id") == reference[1:])
            return next(contained, Fields({}))
        for name in _names(reference):
            if name in self.named:
                return self.named[name]
        return Fields({})


def read_resources(raw: bytes) -> Resources:
    """Read a file or text.

    Raises:
        SkipError: it is no JSON, or no FHIR.
    """
    found = Resources()
    top = _parsed(raw, found.notes)
    every = top if isinstance(top, list) else [top]
    known = [one for one in every if _is_resource(one)]
    if not known:
        raise SkipError("JSON that is no FHIR resource")
    found.notes["entries that are no FHIR resource"] += len(every) - len(known)
    versions: dict[str, int] = {}
    for resource in _each(known, found.notes):
        if len(found.every) >= MOST_RESOURCES:
            found.notes[f"FHIR resources beyond the first {MOST_RESOURCES:,}"] += 1
            continue
        _take(found, Fields(resource), versions)
    found.notes = +found.notes
    return found


def _parsed(raw: bytes, notes: Counter[str]) -> Any:
    """The JSON of the whole, or of each line."""
    try:
        text = raw.decode("utf-8-sig")
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if not isinstance(error, json.JSONDecodeError):
            raise SkipError("damaged JSON") from error
    lines = [line for line in text.split("\n") if line.strip()]  # U+2028 may stand in a text
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError):
            notes["lines that are damaged JSON"] += 1
        if not found:  # a file of one damaged object is not tried line by line
            raise SkipError("damaged JSON")
    return found


def _is_resource(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("resourceType"), str)


def _each(
    tops: list[dict[str, Any]], notes: Counter[str], depth: int = 0
) -> Iterator[dict[str, Any]]:
    for top in tops:
        kind = top["resourceType"]
        if kind not in _HOLDERS:
            yield top
            continue
        if depth > DEEPEST:
            notes["bundles nested too deeply"] += 1
            continue
        if kind == "List":
            yield top
        yield from _each(list(_inside(top, kind, notes)), notes, depth + 1)


def _inside(top: dict[str, Any], kind: str, notes: Counter[str]) -> Iterator[dict[str, Any]]:
    """The resources that a bundle, a list or parameters hold, with their full URLs."""
    if kind == "List":
        yield from (part for part in _objects(top, "contained") if _is_resource(part))
        return
    for entry in _objects(top, "entry" if kind == "Bundle" else "parameter"):
        resource = entry.get("resource")
        if isinstance(resource, dict) and _is_resource(resource):
            url = entry.get("fullUrl")
            yield {**resource, "_url": url if isinstance(url, str) else ""}
        elif resource is not None:
            notes["entries that are no FHIR resource"] += 1


def _objects(content: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    value = content.get(name)
    yield from (one for one in (value if isinstance(value, list) else []) if isinstance(one, dict))


def _take(found: Resources, resource: Fields, versions: dict[str, int]) -> None:
    """Add a resource; of several versions of one the newest counts."""
    url, short = resource.text("_url"), _short(resource)
    key = f"{url} {short}" if url or short else ""
    at = versions.get(key, -1) if key else -1
    if at >= 0 and _same(resource, found.every[at]):
        found.notes["other versions of the same FHIR resource"] += 1
        if (_version(resource) or _OLDEST) <= (_version(found.every[at]) or _OLDEST):
            return
        found.every[at] = resource
    else:
        versions[key] = len(found.every)
        found.every.append(resource)
    for name in {url, short} - {""}:
        found.named[name] = resource


def _same(one: Fields, other: Fields) -> bool:
    """Whether two resources of one name are versions; without versions only equal ones are."""
    return one.content == other.content or bool(_version(one) and _version(other))


def _short(resource: Fields) -> str:
    name = resource.text("id")
    return f"{resource.text('resourceType')}/{name}" if name else ""


def _version(resource: Fields) -> tuple[str, float] | None:
    """When it was last changed and its version; None where it says neither."""
    number = resource.part("meta").number("versionId")
    changed = resource.text("meta", "lastUpdated")
    return (changed, number or 0.0) if changed or number is not None else None


def _names(reference: str) -> Iterator[str]:
    """What a reference may mean, the most exact first."""
    yield reference
    plain = reference.split("/_history/", maxsplit=1)[0].split("|", maxsplit=1)[0]
    yield plain
    parts = plain.rstrip("/").split("/")
    if len(parts) >= 2:
        yield "/".join(parts[-2:])
