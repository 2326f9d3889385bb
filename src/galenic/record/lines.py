"""Convert FHIR R4 resources, by type, to lines of plain text and to facts about the person.

Each function named after a type takes a resource, its `State` and a `Reader`, and yields entries.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from html import unescape
from typing import TypeAlias

from galenic.record.bundle import Resources
from galenic.record.facts import NONE_KNOWN, Fact, with_traits
from galenic.record.fields import Fields, as_date
from galenic.record.status import State, state_of

__all__ = ["LINES", "Reader", "RecordEntry", "entries"]

DAYS_OF_MONTH = 365.25 / 12
_NONE = re.compile(
    r"^(?:no known|none known|no allerg|nkda\b|nka\b|nil known|no drug allerg)", re.I
)
"""Names of allergy entries that mean "no known allergies"."""


@dataclass(frozen=True)
class RecordEntry:
    """A line of a record, with the fact behind it.

    Attributes:
        day: Date by which it is sorted, as in the record (``2020``, ``2020-03`` or ``2020-03-04``);
            empty if unknown.
        text: The line, such as "Condition: Asthma (active).".
        fact: The fact, or None if the line says nothing about the person's state.
    """

    day: str
    text: str
    fact: Fact | None = None


@dataclass
class Reader:
    """Context in which a resource is read.

    Attributes:
        resources: All resources of the record, for resolving references.
        today: Date to which ages are computed.
        notes: Number of occurrences of what could not be read, by description; updated while
            reading.
    """

    resources: Resources
    today: date
    notes: Counter[str] = field(default_factory=Counter)


Read: TypeAlias = Callable[[Fields, State, Reader], Iterator[RecordEntry]]
"""Function that yields the entries of a resource of one type."""


def _join(begin: str, *details: str) -> str:
    """Join a text and its non-empty details: "Condition: Asthma (active, since 2010)."."""
    kept = [detail for detail in details if detail]
    return begin + (f" ({', '.join(kept)})" if kept else "") + "."


def _labelled(label: str, value: str) -> str:
    """Return "label value", or an empty string if the value is empty."""
    return f"{label} {value}" if value else ""


def _patient(resource: Fields, _: State, reader: Reader) -> Iterator[RecordEntry]:
    born, gender = resource.day("birthDate"), resource.text("gender")
    months = _ages(born, reader.today)
    traits = ("male",) if gender == "male" else ()
    text = _join(
        f"Patient: {gender or 'gender not stated'}",
        _labelled("born", born),
        _labelled("died", resource.day("deceasedDateTime")),
    )
    fact = Fact("person", gender or "person", traits=traits, detail=_age(months), months=months)
    yield RecordEntry("", text, fact)


def _ages(born: str, today: date) -> tuple[float, ...]:
    """Return the age in months: one value, or the lowest and highest for an imprecise birth date.

    Args:
        born: Birth date; a year or a month alone is imprecise.
        today: Date to which the age is computed.
    """
    days = (as_date(born, last=True), as_date(born))
    return tuple(dict.fromkeys(max(0.0, (today - day).days / DAYS_OF_MONTH) for day in days if day))


def _age(months: tuple[float, ...]) -> str:
    """Describe an age in months: "aged 34", or "aged 5 months" below two years."""
    if not months:
        return ""
    least = min(months)
    return f"aged {int(least / 12)}" if least >= 24 else f"aged {int(least)} months"


def _condition(resource: Fields, state: State, reader: Reader) -> Iterator[RecordEntry]:
    since = resource.day("onsetDateTime", "onsetPeriod")
    recorded = resource.day("recordedDate")
    ended = resource.end("abatementDateTime", "abatementPeriod")
    name = resource.concept("code")
    if not name:
        reader.notes["conditions without a name"] += 1
        return
    if ended and state == "holds" and (as_date(ended) or reader.today) <= reader.today:
        reader.notes["conditions that are both active and ended, taken as active"] += 1
    stages = [words for stage in resource.parts("stage") if (words := stage.concept("summary"))]
    kind = "Condition refuted (the person does not have it)" if state == "denied" else "Condition"
    text = _join(
        f"{kind}: {name}",
        "" if state == "denied" else resource.concept("clinicalStatus"),
        "" if state == "denied" else resource.concept("verificationStatus"),
        _labelled("severity", resource.concept("severity")),
        *(_labelled("stage", stage) for stage in stages),
        _labelled("since", since),
        _labelled("recorded", recorded),
        _labelled("ended", ended or resource.text("abatementString")),
    )
    fact = Fact(
        "condition", name, state, since=since or recorded, until=ended,
        detail=", ".join(stages), names=tuple(resource.names("code")),
    )  # fmt: skip
    codes = resource.codes("code")
    yield RecordEntry(since or recorded, text, with_traits(fact, "Condition", codes, reader.today))


def _allergy(resource: Fields, state: State, reader: Reader) -> Iterator[RecordEntry]:
    day = resource.day("onsetDateTime", "recordedDate", "assertedDate")
    reactions = list(resource.parts("reaction"))
    name = resource.concept("code") or next(
        (n for reaction in reactions if (n := reaction.concept("substance"))), ""
    )
    if not name:
        reader.notes["allergies without a name"] += 1
        return
    manifested = [words for one in reactions for words in one.concepts("manifestation")]
    severities = [words for one in reactions if (words := one.text("severity"))]
    details = (
        _labelled("reaction", " and ".join(dict.fromkeys(manifested))),
        _labelled("severity", " and ".join(dict.fromkeys(severities))),
    )
    names = tuple(dict.fromkeys(
        [*resource.names("code"), *(n for one in reactions for n in one.names("substance"))]
    ))  # fmt: skip
    none = any(code in NONE_KNOWN for _, code in resource.codes("code")) or bool(_NONE.match(name))
    if none and state == "holds":
        text = _join(f"Allergy or intolerance: {name}", _labelled("recorded", day))
        yield RecordEntry(day, text, Fact("allergy", "", "denied", since=day, names=names))
        return
    denied = state == "denied"
    begin = "Allergy refuted (the person is not allergic to it)" if denied else (
        "Allergy or intolerance"
    )  # fmt: skip
    text = _join(
        f"{begin}: {name}",
        "" if denied else resource.concept("clinicalStatus"),
        "" if denied else resource.concept("verificationStatus"),
        _labelled("criticality", resource.text("criticality")),
        *details,
        _labelled("recorded", day),
    )
    reacted = ", ".join(dict.fromkeys([*manifested, *severities]))
    yield RecordEntry(
        day, text, Fact("allergy", name, state, since=day, detail=reacted, names=names)
    )


def _medicine_names(resource: Fields, reader: Reader) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the names and codes of a medicine.

    They are those of the resource itself, of the medication that it refers to, and of its
    ingredients.

    Args:
        resource: A resource that is about a medicine, such as a MedicationRequest.
        reader: Context with the other resources.

    Returns:
        The distinct names, and pairs of a coding system and a code.
    """
    choice = resource.part("medication")  # FHIR R5: one field holds a reference or a concept
    owners: list[tuple[Fields, str]] = [(resource, "medicationCodeableConcept")]
    reference = resource.part("medicationReference")
    if not reference.content:
        reference = choice.part("reference")
    owners.append((choice, "concept"))
    target = reader.resources.target(resource, reference.text("reference"))
    owners.append((target, "code"))
    for ingredient in target.parts("ingredient"):
        owners.append((ingredient, "itemCodeableConcept"))
        item = ingredient.text("itemReference", "reference")
        owners.append((reader.resources.target(target, item), "code"))
    names = [name for owner, field_ in owners for name in owner.names(field_)]
    codes = [code for owner, field_ in owners for code in owner.codes(field_)]
    said = reference.text("display")
    return list(dict.fromkeys([*names, *([said] if said else [])])), codes


_STATED = {
    "MedicationRequest": "prescribed",
    "MedicationDispense": "handed out",
    "MedicationAdministration": "given",
}
"""What each resource type says about a medicine, in words."""
_DENIED = {
    "MedicationRequest": "not to be given",
    "MedicationDispense": "not handed out",
    "MedicationAdministration": "not given",
}
"""The same for a resource whose state is ``denied``."""
_DATES = (
    "authoredOn", "effectiveDateTime", "effectivePeriod", "whenHandedOver", "whenPrepared",
    "occurenceDateTime", "dateAsserted",
)  # fmt: skip


def _medication(resource: Fields, state: State, reader: Reader) -> Iterator[RecordEntry]:
    names, codes = _medicine_names(resource, reader)
    if not names:
        reader.notes["medication not named"] += 1
        return
    kind, day = resource.text("resourceType"), resource.day(*_DATES)
    doses = [dose.dose() for name in ("dosageInstruction", "dosage")
             for dose in resource.parts(name)]  # fmt: skip
    why = ", ".join(resource.concepts("statusReason") or resource.concepts("reasonNotTaken"))
    denial = _DENIED.get(kind, "does not take") if state == "denied" else ""
    text = _join(
        f"Medication {day}: {denial}: {names[0]}" if denial else f"Medication {day}: {names[0]}",
        "" if denial else _STATED.get(kind, "taken"),
        "" if denial else resource.text("status"),
        _labelled("why", why),
        *doses,
        _labelled("for", ", ".join(resource.concepts("reasonCode"))),
    )
    fact = Fact(
        "medicine", names[0], state, since=day, until=resource.text("effectivePeriod", "end")[:10],
        detail=denial, names=tuple(names),
    )  # fmt: skip
    yield RecordEntry(day, text, with_traits(fact, kind, codes, reader.today))


def _observation(resource: Fields, _: State, reader: Reader) -> Iterator[RecordEntry]:
    day = resource.day("effectiveDateTime", "effectivePeriod", "effectiveInstant", "issued")
    parts = [f"{part.concept('code')} {part.value()}" for part in resource.parts("component")]
    value = "; ".join(text.strip() for text in [resource.value(), *parts] if text.strip())
    limits = resource.part("referenceRange")
    name = resource.concept("code")
    if not name:
        reader.notes["observations without a name"] += 1
        return
    text = _join(
        f"Observation {day}: {name}: {value or 'no value'}",
        ", ".join(resource.concepts("interpretation")),
        _labelled("reference", limits.text("text") or Fields({"r": limits.content}).range("r")),
        "" if resource.text("status") in ("final", "") else resource.text("status"),
    )
    yield RecordEntry(day, text)


def _immunization(resource: Fields, state: State, reader: Reader) -> Iterator[RecordEntry]:
    day = resource.day("occurrenceDateTime") or resource.text("occurrenceString")
    name = resource.concept("vaccineCode")
    if not name:
        reader.notes["vaccines without a name"] += 1
    elif state == "denied":
        why = _labelled("why", resource.concept("statusReason"))
        yield RecordEntry(day, _join(f"Immunization not done {day}: {name}", why))
    else:
        yield RecordEntry(day, _join(f"Immunization {day}: {name}", resource.text("status")))


def _procedure(resource: Fields, state: State, reader: Reader) -> Iterator[RecordEntry]:
    dates = ("performedDateTime", "performedPeriod", "occurrenceDateTime", "occurrencePeriod")
    day, name = resource.day(*dates), resource.concept("code")
    if not name:
        reader.notes["procedures without a name"] += 1
        return
    denied = state == "denied"
    text = _join(
        f"Procedure {'not done ' if denied else ''}{day}: {name}",
        "" if denied else resource.text("status"),
        _labelled("why", resource.concept("statusReason")) if denied else "",
        _labelled("outcome", resource.concept("outcome")),
    )
    codes = [*resource.codes("code"), *resource.codes("category")]
    until = resource.end(*dates)
    names = tuple(resource.names("code"))
    fact = Fact("procedure", name, state, since=day, until=until, names=names)
    yield RecordEntry(day, text, with_traits(fact, "Procedure", codes, reader.today))


def _family(resource: Fields, _: State, reader: Reader) -> Iterator[RecordEntry]:
    """Yield the conditions of relatives as lines; they are never facts about the person."""
    who = resource.concept("relationship") or resource.text("name") or "relative"
    for condition in resource.parts("condition"):
        if name := condition.concept("code"):
            day = resource.day("date")
            yield RecordEntry(day, _join(f"Family history, not the person: {who}: {name}"))
        else:
            reader.notes["family histories without a name"] += 1


_LISTS = (
    ("allerg", "48765-2", "allergy"),
    ("medic", "10160-0", "medicine"),
    ("problem", "11450-4", "condition"),
)
"""Kinds of lists: a word of the title, the LOINC code, and the kind of fact of its items."""


def _list(resource: Fields, state: State, reader: Reader) -> Iterator[RecordEntry]:
    """Yield what a List says itself: that it is empty, and items that refer to no resource here."""
    name = resource.text("title") or resource.concept("code") or "list"
    day = resource.day("date")
    codes = {code for _, code in resource.codes("code")}
    kind = next((k for word, code, k in _LISTS if word in name.lower() or code in codes), "")
    if reason := resource.concept("emptyReason"):
        none = resource.status("emptyReason") in ("nilknown", "nil known")
        fact = Fact("allergy", "", "denied", since=day) if none and kind == "allergy" else None
        yield RecordEntry(day, _join(f"List {name}: empty", reason), fact)
    for entry in resource.parts("entry"):
        reference, said = entry.text("item", "reference"), entry.text("item", "display")
        if reader.resources.target(resource, reference).content:
            continue
        if not said:
            reader.notes["items of lists that are not in the record"] += 1
        elif not entry.is_true("deleted"):
            yield RecordEntry(
                day, _join(f"List {name}: {said}"), _named_fact(kind, said, state, reader)
            )


def _named_fact(kind: str, name: str, state: State, reader: Reader) -> Fact | None:
    """Return a fact for a list item that has only a name; None for other kinds of lists."""
    match kind:
        case "medicine":
            fact = Fact("medicine", name, state, names=(name,))
            return with_traits(fact, "MedicationStatement", (), reader.today)
        case "condition":
            fact = Fact("condition", name, state, names=(name,))
            return with_traits(fact, "Condition", (), reader.today)
        case "allergy":
            return Fact("allergy", name, state, names=(name,))
        case _:
            return None


def _report(resource: Fields, _: State, reader: Reader) -> Iterator[RecordEntry]:
    day = resource.day("effectiveDateTime", "effectivePeriod", "issued", "date")
    name = resource.concept("code") or resource.concept("type") or "document"
    said = [resource.text("conclusion"), resource.text("description")]
    attachments = list(resource.parts("presentedForm"))
    attachments += [content.part("attachment") for content in resource.parts("content")]
    read = [text for one in attachments if (text := _attached(one))]
    reader.notes["attachments that are no text"] += len(
        [one for one in attachments if one.content and not _attached(one)]
    )
    bodies = [text for text in [*said, *read] if text]
    for paragraph in "\n".join(bodies).splitlines():
        if paragraph.strip():
            yield RecordEntry(day, f"Report {day}, {name}: {paragraph}")


def _attached(attachment: Fields) -> str:
    """Return the text of an attachment; empty if it is not text (PDF files, images)."""
    kind = attachment.text("contentType").split(";")[0].strip().lower()
    if kind not in ("text/plain", "text/markdown", "text/html"):
        return ""
    try:
        raw = base64.b64decode(attachment.text("data"), validate=False)
    except (binascii.Error, ValueError):
        return ""
    text = raw.decode("utf-8", errors="replace")
    return unescape(re.sub(r"<[^<>]*>", " ", text)) if kind == "text/html" else text


LINES: dict[str, tuple[str, Read]] = {
    "Patient": ("Patient", _patient),
    "Condition": ("Conditions", _condition),
    "AllergyIntolerance": ("Allergies", _allergy),
    "MedicationRequest": ("Medications", _medication),
    "MedicationStatement": ("Medications", _medication),
    "MedicationUsage": ("Medications", _medication),
    "MedicationDispense": ("Medications", _medication),
    "MedicationAdministration": ("Medications", _medication),
    "Observation": ("Observations and laboratory values", _observation),
    "Immunization": ("Immunizations", _immunization),
    "Procedure": ("Procedures", _procedure),
    "DiagnosticReport": ("Reports", _report),
    "DocumentReference": ("Reports", _report),
    "FamilyMemberHistory": ("Family history", _family),
    "List": ("Lists", _list),
}
"""For each supported resource type, the heading of its lines and its function, in document
order.
"""


def entries(resource: Fields, reader: Reader) -> Iterator[RecordEntry]:
    """Yield the entries of a resource of a supported type.

    Resources entered in error or cancelled are left out and counted in ``reader.notes``.

    Args:
        resource: The resource; its type must be a key of `LINES`.
        reader: Context in which it is read.
    """
    kind = resource.text("resourceType")
    state = state_of(resource, reader.today)
    if state == "wrong":
        reader.notes[f"entered in error or cancelled, left out ({kind})"] += 1
        return
    if resource.has("modifierExtension"):
        reader.notes["entries with a modifier extension, which is not understood"] += 1
    yield from LINES[kind][1](resource, state, reader)
