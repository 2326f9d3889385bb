"""Event types that make up an answer, in the order in which they are streamed and displayed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from galenic.assistant.triage.rules import Source
from galenic.assistant.triage.triage import Triage
from galenic.retrieval.retrieve import Passage

__all__ = [
    "Cited",
    "Done",
    "Event",
    "Note",
    "Section",
    "Sentence",
    "Sources",
    "Tier",
    "as_json",
    "passage_json",
]

Section = Literal["warning", "answer", "watch", "questions"]
"""Part of the answer that a sentence is displayed in: a warning from the record or about an
interaction, the answer itself, signs to watch for, or questions to ask at an appointment."""


@dataclass(frozen=True)
class Tier:
    """The triage result: how urgently help is needed. Always the first event, computed by rules."""

    name: ClassVar[str] = "triage"

    triage: Triage


@dataclass(frozen=True)
class Cited:
    """A passage together with its citation number, which sentences refer to."""

    number: int
    passage: Passage


@dataclass(frozen=True)
class Sources:
    """Passages that later sentences cite; always sent before the first of those sentences."""

    name: ClassVar[str] = "sources"

    sources: tuple[Cited, ...]


@dataclass(frozen=True)
class Sentence:
    """One sentence of the answer, with its citations.

    Attributes:
        section: part of the answer in which the sentence is displayed.
        text: the sentence itself, as displayed to the user.
        sources: numbers of the passages (`Cited.number`) that support the sentence. If empty and
            ``rule`` is None, the sentence has no source.
        rule: public guidance that the sentence follows, if it comes from a triage rule or a fixed
            text rather than from a passage.
    """

    name: ClassVar[str] = "sentence"

    section: Section
    text: str
    sources: tuple[int, ...] = ()
    rule: Source | None = None


@dataclass(frozen=True)
class Note:
    """A message about the answer itself.

    Attributes:
        kind: ``guard`` if a safety guard refused the question or hid a sentence, ``abstained`` if
            the sources do not answer the question, ``note`` for anything else.
        text: the message, as displayed to the user.
    """

    name: ClassVar[str] = "note"

    kind: Literal["guard", "abstained", "note"]
    text: str


@dataclass(frozen=True)
class Done:
    """The last event of an answer.

    Attributes:
        seconds: time taken to answer, after triage and without loading the model.
        model: name of the model that wrote the answer; empty if no model was used.
        tokens: number of tokens that the model generated.
    """

    name: ClassVar[str] = "done"

    seconds: float
    model: str
    tokens: int


Event: TypeAlias = Tier | Sources | Sentence | Note | Done


def as_json(event: Event) -> Mapping[str, Any]:
    """Return the JSON-serialisable data of an event, as sent over HTTP by the server."""
    if isinstance(event, Tier):
        return event.triage.describe()
    if isinstance(event, Sources):
        return {
            "sources": [
                {"number": one.number, **passage_json(one.passage)} for one in event.sources
            ]
        }
    if isinstance(event, Sentence):
        rule = None if event.rule is None else event.rule.model_dump(mode="json")
        return {
            "section": event.section,
            "text": event.text,
            "sources": event.sources,
            "rule": rule,
        }
    return asdict(event)


def passage_json(passage: Passage) -> dict[str, Any]:
    """Return a passage as a dictionary with all fields that a citation needs.

    The internal fields ``id``, ``snippet`` and ``score`` are left out.
    """
    kept = asdict(passage)
    for key in ("id", "snippet", "score"):
        del kept[key]
    return kept
