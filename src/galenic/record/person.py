"""What a person gives along with a question: notes in their own words, or a health record."""

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
MOST_SAID = 12
"""Facts of a record that are told to the reader."""


@dataclass(frozen=True)
class Person:
    """Notes or a record, made ready.

    Attributes:
        said: words that triage reads like those of the question: the person's own notes.
        facts: what a record says, by its fields.
        passages: to ground an answer on, in order.
        notes: what of a record could not be read, in words, with counts.
    """

    said: str = ""
    facts: tuple[Fact, ...] = ()
    passages: tuple[Passage, ...] = ()
    notes: tuple[str, ...] = ()

    def told(self) -> list[str]:
        """What the record says that matters for an answer, for the reader."""
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
    if fact.kind in ("allergy", "medicine") and fact.state == "denied":
        return True
    return fact.state == "holds" and (fact.kind == "allergy" or bool(fact.traits))


def _told(fact: Fact) -> str:
    says = [traits()[name].says for name in fact.traits if name in traits()]
    plain = [words for words in says if words[:6] not in fact.name.lower()]
    return f"{fact.text}: {', '.join(plain)}" if plain else fact.text


def read_person(context: str, today: date | None = None) -> Person:
    """Read ``--context``: a FHIR R4 resource, bundle, list or bulk file, or text.

    Notes are the person's own words of now, so that symptoms in them count; a record is a whole
    life, so that of it only facts count that its fields say to hold.

    Args:
        context: the text; empty = nothing is known.
        today: the day that ages and weeks of a record are counted to; None = today.

    Raises:
        UserError: it is JSON, but no health record.
    """
    if not context.strip():
        return Person()
    if not _is_json(context):
        document = read_text(context.encode(errors="replace"), NAME)
        return Person(said=context, passages=_passages(document))
    try:
        record = read_record(context.encode(errors="replace"), NAME, today)
    except SkipError as error:
        raise UserError(
            f"the context is {error}. Give a FHIR R4 resource, bundle or list, or plain text."
        ) from error
    notes = tuple(f"{what}: {count}" for what, count in sorted(record.document.notes.items()))
    return Person(facts=record.facts, passages=_passages(record.document), notes=notes)


def _is_json(context: str) -> bool:
    """Whether it is meant as a record: an object, or an array of objects."""
    return re.match(r"\s*(?:\{|\[\s*\{)", context.lstrip("\ufeff")) is not None


def _passages(document: Document) -> tuple[Passage, ...]:
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
