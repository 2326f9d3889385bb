"""Guarded in code, whatever a model or a passage says: doses, stopping medicines, self-harm.

The phrases stand in ``guards.yaml``, to be read and criticised like the rules of triage.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict, Field

from galenic.assistant.triage.phrase import Matcher, parse_phrase
from galenic.assistant.triage.wording import sentences

__all__ = ["Guard", "of_answer", "of_question"]


class Guard(BaseModel):
    """What is looked for, what makes it harmless, and what the reader is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    say: tuple[str, ...] = Field(min_length=1)
    unless: tuple[str, ...] = ()
    note: str


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    words: dict[str, list[str]]
    input: list[Guard]
    output: list[Guard]


@dataclass(frozen=True)
class _Ready:
    """Guards with their phrases read; concepts are ``id`` and ``id unless``."""

    guards: tuple[Guard, ...]
    matcher: Matcher

    def first(self, text: str) -> Guard | None:
        """The first guard that stands against a text."""
        found = {
            mention.concept
            for sentence in sentences(text)
            for mention in self.matcher.find(sentence.tokens)
        }
        hits = (one for one in self.guards if one.id in found and _harmless(one) not in found)
        return next(hits, None)


def of_question(text: str) -> Guard | None:
    """What a question asks that is for a doctor or pharmacist to say."""
    return _guards()[0].first(text)


def of_answer(sentence: str) -> Guard | None:
    """Why a sentence must not be shown, if it must not."""
    return _guards()[1].first(sentence)


@cache
def _guards() -> tuple[_Ready, _Ready]:
    text = files("galenic.assistant.triage").joinpath("guards.yaml").read_text(encoding="utf-8")
    found = _File.model_validate(yaml.safe_load(text))
    return _ready(found.input, found.words), _ready(found.output, found.words)


def _ready(guards: list[Guard], words: dict[str, list[str]]) -> _Ready:
    matcher = Matcher()
    for guard in guards:
        for name, phrases in ((guard.id, guard.say), (_harmless(guard), guard.unless)):
            matcher.add(name, (one for phrase in phrases for one in parse_phrase(phrase, words)))
    return _Ready(tuple(guards), matcher)


def _harmless(guard: Guard) -> str:
    return f"{guard.id} unless"
