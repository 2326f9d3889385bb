"""What an answer is made of, in the order in which it is shown."""

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


@dataclass(frozen=True)
class Tier:
    """How soon help is needed; first of all, and before any model runs."""

    name: ClassVar[str] = "triage"

    triage: Triage


@dataclass(frozen=True)
class Cited:
    """A passage and the number by which sentences name it."""

    number: int
    passage: Passage


@dataclass(frozen=True)
class Sources:
    """Passages, before the sentences that name them."""

    name: ClassVar[str] = "sources"

    sources: tuple[Cited, ...]


@dataclass(frozen=True)
class Sentence:
    """One sentence.

    Attributes:
        section: where it belongs.
        text: of the sentence.
        sources: numbers of the passages that it is from; none means that it is not sourced, unless
            there is a ``rule``.
        rule: public guidance that it is from.
    """

    name: ClassVar[str] = "sentence"

    section: Section
    text: str
    sources: tuple[int, ...] = ()
    rule: Source | None = None


@dataclass(frozen=True)
class Note:
    """Something to know: a guard that stepped in, why there is no answer, or else."""

    name: ClassVar[str] = "note"

    kind: Literal["guard", "abstained", "note"]
    text: str


@dataclass(frozen=True)
class Done:
    """The end.

    Attributes:
        seconds: since the question.
        model: that ordered or wrote; empty when none ran.
        tokens: that it wrote.
    """

    name: ClassVar[str] = "done"

    seconds: float
    model: str
    tokens: int


Event: TypeAlias = Tier | Sources | Sentence | Note | Done


def as_json(event: Event) -> Mapping[str, Any]:
    """What stands in an event's data."""
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
    """A passage with all that is needed to cite it."""
    kept = asdict(passage)
    for key in ("id", "snippet", "score"):
        del kept[key]
    return kept
