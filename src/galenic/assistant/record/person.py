"""What a person gives along with a question: notes in their own words, or a health record."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from galenic.assistant.record.fhir import read_fhir
from galenic.errors import UserError
from galenic.retrieval.documents.base import Document, SkipError
from galenic.retrieval.documents.cut import cut
from galenic.retrieval.documents.text import read_text
from galenic.retrieval.retrieve import Passage, Snippet

__all__ = ["Person", "read_person"]

_BORN = re.compile(r"born (\d{4})(?:-(\d{2}))?")
_OVER = ("ended", "resolved", "inactive", "remission", "refuted", "entered-in-error")
NAME = "your notes"


@dataclass(frozen=True)
class Person:
    """Notes or a record, made ready.

    Attributes:
        said: words that triage reads like those of the question: the person's own notes.
        about: what it reads for the groups only that the person belongs to: a record's lines.
        passages: to ground an answer on, in order.
    """

    said: str = ""
    about: str = ""
    passages: tuple[Passage, ...] = ()


def read_person(context: str, today: date | None = None) -> Person:
    """Read what stands in ``--context``: a FHIR R4 resource or bundle, or text.

    Notes are the person's own words of now, so that symptoms in them count; a record is a whole
    life, so that of it only sex, age and conditions that go on count.

    Raises:
        UserError: it is JSON, but no health record.
    """
    if not context.strip():
        return Person()
    if not context.lstrip().startswith("{"):
        document = read_text(context.encode(errors="replace"), NAME)
        return Person(said=context, passages=_passages(document))
    try:
        document = read_fhir(context.encode(errors="replace"), NAME)
    except SkipError as error:
        raise UserError(
            f"the context is {error}. Give a FHIR R4 resource or bundle, or plain text."
        ) from error
    lines = [line.text for line in document.lines if not any(w in line.text for w in _OVER)]
    lines += [f"Patient aged {age} years" for line in lines if (age := _age(line, today))]
    return Person(about=".\n\n".join(lines), passages=_passages(document))


def _age(line: str, today: date | None) -> int | None:
    """Whole years since the birth that a patient's line names; None below one year."""
    born = _BORN.search(line) if line.startswith("Patient:") else None
    if born is None:
        return None
    now = today or date.today()
    return (now.year - int(born[1]) - (int(born[2] or 1) > now.month)) or None


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
