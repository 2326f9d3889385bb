"""Collect the resources of an exported health record and resolve the references between them.

Supported are bundles of any type (nested ones too), lists, FHIR bulk files (one resource per line),
JSON arrays, Parameters and single resources of FHIR R4 (http://hl7.org/fhir/R4/).
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
"""Maximum number of resources that are read."""
DEEPEST = 8
"""Maximum nesting depth of bundles."""
_OLDEST = ("", 0.0)
"""Version of a resource that states none."""
_HOLDERS = ("Bundle", "List", "Parameters")
"""Resource types that contain other resources."""


@dataclass
class Resources:
    """The resources of a record.

    Attributes:
        every: All resources in file order, each once in its latest version.
        notes: Number of occurrences of what could not be read, by description.
        named: Resources by the names that references use: full URL and ``Type/id``.
    """

    every: list[Fields] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    named: dict[str, Fields] = field(default_factory=dict)

    def target(self, owner: Fields, reference: str) -> Fields:
        """Return the resource that a reference points to; an empty one if it is not in the record.

        Contained resources (``#id``), full URLs, ``Type/id``, versioned references
        (``/_history/2``) and absolute URLs of other servers are resolved, the latter by type and
        id.

        Args:
            owner: The resource that holds the reference.
            reference: The reference, such as ``Medication/12``.
        """
        if reference.startswith("#"):
            contained = (c for c in owner.parts("contained") if c.text("id") == reference[1:])
            return next(contained, Fields({}))
        for name in _names(reference):
            if name in self.named:
                return self.named[name]
        return Fields({})


def read_resources(raw: bytes) -> Resources:
    """Parse the contents of a file as FHIR resources.

    Args:
        raw: JSON, or one JSON object per line, in UTF-8.

    Raises:
        SkipError: If it is not JSON, or contains no FHIR resource.
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
    """Parse the whole as JSON or, if that fails, each line."""
    try:
        text = raw.decode("utf-8-sig")
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if not isinstance(error, json.JSONDecodeError):
            raise SkipError("damaged JSON") from error
    lines = [
        line for line in text.split("\n") if line.strip()
    ]  # not splitlines(): strings may contain U+2028
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError):
            notes["lines that are damaged JSON"] += 1
        if not found:  # the first line is invalid, so this is not NDJSON
            raise SkipError("damaged JSON")
    return found


def _is_resource(content: Any) -> bool:
    """Check whether a JSON value is a FHIR resource."""
    return isinstance(content, dict) and isinstance(content.get("resourceType"), str)


def _each(
    tops: list[dict[str, Any]], notes: Counter[str], depth: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield all resources, including those inside bundles, lists and Parameters."""
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
    """Yield the resources in a bundle, a list or Parameters, with their full URL as ``_url``."""
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
    """Yield the objects of a list field."""
    value = content.get(name)
    yield from (one for one in (value if isinstance(value, list) else []) if isinstance(one, dict))


def _take(found: Resources, resource: Fields, versions: dict[str, int]) -> None:
    """Add a resource to a record; of several versions only the latest is kept.

    Args:
        found: The record, which is modified.
        resource: The resource.
        versions: Index in ``found.every`` by the name of the resource; modified.
    """
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
    """Check whether two resources with one name are equal, or versions of each other."""
    return one.content == other.content or bool(_version(one) and _version(other))


def _short(resource: Fields) -> str:
    """Return the relative reference ``Type/id`` of a resource; empty if it has no id."""
    name = resource.text("id")
    return f"{resource.text('resourceType')}/{name}" if name else ""


def _version(resource: Fields) -> tuple[str, float] | None:
    """Return the time of the last update and the version number; None if both are missing."""
    number = resource.part("meta").number("versionId")
    changed = resource.text("meta", "lastUpdated")
    return (changed, number or 0.0) if changed or number is not None else None


def _names(reference: str) -> Iterator[str]:
    """Yield the keys of `Resources.named` that a reference may mean, most specific first."""
    yield reference
    plain = reference.split("/_history/", maxsplit=1)[0].split("|", maxsplit=1)[0]
    yield plain
    parts = plain.rstrip("/").split("/")
    if len(parts) >= 2:
        yield "/".join(parts[-2:])
