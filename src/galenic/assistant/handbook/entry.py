"""Data model of a handbook entry: statements, each with the public pages that support it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["FIELDS", "SAFETY", "SEEK", "Entry", "Place", "PublicPage", "Seek", "Statement"]

Text = Annotated[str, Field(min_length=1)]
FIELDS = (
    "what", "notice", "causes", "spread", "lasts", "uses", "help", "prevent", "effects",
    "ask_first", "doctor",
)  # fmt: skip
"""Fields that contain statements, except ``seek``, in the order in which they are displayed."""
SEEK = ("emergency", "today", "days")
"""Levels of urgency of the advice to seek help."""
SAFETY = frozenset({"effects", "ask_first", *(f"seek.{tier}" for tier in SEEK)})
"""Fields whose statements must cite pages of at least two hosts."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PublicPage(_Strict):
    """A public web page.

    Attributes:
        name: publisher.
        title: title of the page.
        url: address of the page.
        date: date of the page, or the date on which it was read, as text ("seen 2026-11-29").
    """

    name: Text
    title: Text
    url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    date: Text


class Statement(_Strict):
    """One complete sentence, and the pages that support it.

    Attributes:
        text: the sentence.
        sources: keys of the pages in `Entry.sources`; ``from`` in the YAML files.
    """

    text: Text
    sources: tuple[Text, ...] = Field(alias="from", min_length=1)


class Seek(_Strict):
    """Statements on when to seek help.

    Attributes:
        emergency: signs that need an ambulance or emergency department.
        today: signs that need help on the same day.
        days: signs that need an appointment within a few days.
    """

    emergency: tuple[Statement, ...] = ()
    today: tuple[Statement, ...] = ()
    days: tuple[Statement, ...] = ()


class Place(NamedTuple):
    """A statement, and the name of its field, such as ``help`` or ``seek.today``."""

    field: str
    statement: Statement


class Entry(_Strict):
    """A handbook entry on a health topic or on a group of medicines.

    Attributes:
        id: name of the entry's file, without suffix.
        kind: ``topic`` or ``medicine``.
        title: title as displayed, for example "Sprains and strains".
        also: other names, and ways in which people describe the complaint.
        names: generic and brand names of the medicines; empty for topics.
        group: category of the entry.
        sources: the pages that statements cite, by key.
        what: what it is; the first statement is a definition.
        notice: symptoms that people notice.
        causes: causes and risk factors.
        spread: how it is transmitted, for how long, and when to go back to school or work.
        lasts: how long it lasts.
        help: self-care and treatment.
        prevent: prevention.
        uses: what the medicines are used for.
        effects: side effects.
        ask_first: who should ask a professional before use.
        doctor: what a doctor may do or check.
        seek: when to seek help.
        questions: questions to ask at an appointment.
    """

    id: Text
    kind: Literal["topic", "medicine"]
    title: Text
    also: tuple[Text, ...]
    names: tuple[Text, ...] = ()
    group: Text
    sources: dict[str, PublicPage]
    what: tuple[Statement, ...] = Field(min_length=1)
    notice: tuple[Statement, ...] = ()
    causes: tuple[Statement, ...] = ()
    spread: tuple[Statement, ...] = ()
    lasts: tuple[Statement, ...] = ()
    help: tuple[Statement, ...] = ()
    prevent: tuple[Statement, ...] = ()
    uses: tuple[Statement, ...] = ()
    effects: tuple[Statement, ...] = ()
    ask_first: tuple[Statement, ...] = ()
    doctor: tuple[Statement, ...] = ()
    seek: Seek = Seek()
    questions: tuple[Text, ...] = ()

    def places(self) -> Iterator[Place]:
        """Yield all statements with their fields, in the order in which they are displayed."""
        for name in FIELDS:
            for one in getattr(self, name):
                yield Place(name, one)
        for tier in SEEK:
            for one in getattr(self.seek, tier):
                yield Place(f"seek.{tier}", one)
