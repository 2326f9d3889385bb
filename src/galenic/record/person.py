"""Context that a person provides with a question: notes in free text, or a health record."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from galenic.errors import UserError
from galenic.record.facts import Fact
from galenic.record.fhir import read_record
from galenic.record.traits import traits
from galenic.retrieval.documents.base import Document, SkipError
from galenic.retrieval.documents.cut import cut
from galenic.retrieval.documents.text import read_text
from galenic.retrieval.retrieve import Passage, Snippet

__all__ = ["Person", "read_person"]

NAME = "your notes"
"""Title under which passages of the context are cited."""
MOST_SAID = 12
"""Maximum number of facts of a record that are listed for the reader."""


@dataclass(frozen=True)
class Person:
    """Parsed context of a person.

    Attributes:
        said: The person's notes, which triage reads like the question; empty for a record.
        facts: Facts of a health record.
        passages: Passages of the notes or the record, in order, to ground an answer on.
        notes: What could not be read of a record, in words, with counts.
    """

    said: str = ""
    facts: tuple[Fact, ...] = ()
    passages: tuple[Passage, ...] = ()
    notes: tuple[str, ...] = ()

    def told(self) -> list[str]:
        """Return sentences for the reader: the facts that matter, and what could not be read."""
        if not self.facts:
            return []
        counts = [one for one in self.facts if _matters(one)]
        said = list(dict.fromkeys(_told(one) for one in counts))
        more = len(said) - MOST_SAID
        listed = "; ".join(said[:MOST_SAID]) + (f"; and {more} more" if more > 0 else "")
        texts = [f"Your record says: {listed}."] if said else []
        if self.notes:
            texts.append(f"Not read in your record: {'; '.join(self.notes)}.")
        return texts


def _matters(fact: Fact) -> bool:
    """Check whether a fact matters for an answer: an allergy, denied medicine or trait."""
    if fact.kind in ("allergy", "medicine") and fact.state == "denied":
        return True
    return fact.state == "holds" and (fact.kind == "allergy" or bool(fact.traits))


def _told(fact: Fact) -> str:
    """Describe a fact for the reader, with the traits that its name does not express."""
    says = [traits()[name].says for name in fact.traits if name in traits()]
    plain = [words for words in says if words[:6] not in fact.name.lower()]
    return f"{fact.text}: {', '.join(plain)}" if plain else fact.text


def read_person(context: str, today: date | None = None) -> Person:
    """Parse the context of a question (option ``--context``).

    Notes describe the present in the person's own words, so symptoms in them count for triage. A
    record spans a whole life, so of it only facts count that hold according to their fields.

    Args:
        context: Text, or a FHIR R4 resource, bundle, list or bulk file; empty if nothing is known.
        today: Date to which ages and weeks are computed; None uses the system clock.

    Raises:
        UserError: If it is binary data, or JSON but not a health record.
    """
    if not context.strip():
        return Person()
    try:
        if not _is_json(context):
            document = read_text(context.encode(errors="replace"), NAME)
            return Person(said=context, passages=_passages(document))
        record = read_record(context.encode(errors="replace"), NAME, today)
    except SkipError as error:
        raise UserError(
            f"the context is {error}. Give a FHIR R4 resource, bundle or list, or plain text."
        ) from error
    notes = tuple(f"{what}: {count}" for what, count in sorted(record.document.notes.items()))
    return Person(facts=record.facts, passages=_passages(record.document), notes=notes)


def _is_json(context: str) -> bool:
    """Check whether a context is meant as JSON: an object, or an array of objects."""
    return re.match(r"\s*(?:\{|\[\s*\{)", context.lstrip("\ufeff")) is not None


def _passages(document: Document) -> tuple[Passage, ...]:
    """Split a document into passages that can be retrieved and cited."""
    return tuple(
        Passage(
            id=f"{NAME}#{number}",
            text=piece.text,
            snippet=Snippet(piece.text[:200], ()),
            title=NAME,
            question=piece.heading,
            collection="",
            document=NAME,
            place=piece.first if piece.first == piece.last else f"{piece.first} to {piece.last}",
            source="you",
            license="your own",
            attribution="",
            url="",
            score=0.0,
        )
        for number, piece in enumerate(cut(document.lines), start=1)
    )
