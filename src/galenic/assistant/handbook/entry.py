"""An entry of the handbook: statements in our own words, each with the pages that say so."""

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
"""Fields with statements, in the order in which they are read, but for ``seek``."""
SEEK = ("emergency", "today", "days")
SAFETY = frozenset({"effects", "ask_first", *(f"seek.{tier}" for tier in SEEK)})
"""What needs pages of two hosts."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PublicPage(_Strict):
    """A public page: who publishes it, its title and address, and its date or when it was seen."""

    name: Text
    title: Text
    url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    date: Text


class Statement(_Strict):
    """One whole sentence, and the keys of the pages that say so."""

    text: Text
    sources: tuple[Text, ...] = Field(alias="from", min_length=1)


class Seek(_Strict):
    """When to get help, by how soon."""

    emergency: tuple[Statement, ...] = ()
    today: tuple[Statement, ...] = ()
    days: tuple[Statement, ...] = ()


class Place(NamedTuple):
    """A statement and the field it stands in: ``help``, ``seek.today``."""

    field: str
    statement: Statement


class Entry(_Strict):
    """A topic or a group of medicines.

    Attributes:
        id: the file's name.
        also: other names, and how people say the complaint.
        names: of a group of medicines: generic names and brands.
        what: the first statement is a definition.
        spread: how it is passed on, for how long, and when to go back to school or work.
        questions: to bring to an appointment.
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
        """All statements, in the order in which they are read."""
        for name in FIELDS:
            for one in getattr(self, name):
                yield Place(name, one)
        for tier in SEEK:
            for one in getattr(self.seek, tier):
                yield Place(f"seek.{tier}", one)
