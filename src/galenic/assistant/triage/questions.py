"""Follow-up questions of triage and the findings that their answers lead to.

They come from ``data/questions.yaml``, grouped by complaint, and from rules that lack one concept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from galenic.assistant.triage.concepts import one_short
from galenic.assistant.triage.reading import Reading
from galenic.assistant.triage.result import ANSWERS, Finding, Question
from galenic.assistant.triage.rules import Prepared, Source, prepared
from galenic.assistant.triage.tiers import Tier, rank
from galenic.errors import UserError

__all__ = [
    "HAPPENING",
    "Asked",
    "answered",
    "check",
    "concepts_answered",
    "happening",
    "to_ask",
]

FEWEST, MOST = 2, 5
HAPPENING = "happening-now"
"""Id of the question "is this happening now?", asked first in reply to a general question."""
_CONCEPT = "concept-"
_DO = {
    "emergency": "Call your emergency number now, or go to an emergency department.",
    "today": "Speak to a doctor or a nurse line today.",
    "days": "Make an appointment within a few days.",
}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Asked(_Strict):
    """A question of ``data/questions.yaml``.

    Attributes:
        id: Stable id.
        text: The question.
        tier: The tier that the answer "yes" leads to.
        reason: Why, in plain words for the reader.
        source: Key of a source in ``rules.yaml``.
        concepts: Concepts that it asks about; it is not asked if the text mentions or denies one.
        people: Population groups that it is asked of; empty for anyone.
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    text: str = Field(pattern=r"\?$")
    tier: Literal["emergency", "today", "days"]
    reason: str = Field(pattern=r"\.$")
    source: str
    concepts: tuple[str, ...] = ()
    people: tuple[str, ...] = ()


class Complaint(_Strict):
    """The questions for one kind of complaint, identified by any of its concepts."""

    id: str
    concepts: tuple[str, ...]
    ask: tuple[Asked, ...] = Field(min_length=2, max_length=MOST)


class _File(_Strict):
    concepts: dict[str, str]
    general: Asked
    anyone: tuple[Asked, ...] = Field(min_length=FEWEST, max_length=MOST)
    complaints: tuple[Complaint, ...]


def to_ask(
    message: Reading,
    whole: Reading,
    ready: Prepared,
    people: Collection[str],
    tier: Tier,
    answers: Mapping[str, str],
) -> tuple[Question, ...]:
    """Return the open follow-up questions, most important first.

    Questions of the complaint come first, then those for rules that lack one concept, then those
    for anyone. A new complaint gets its own questions, however many were answered before.

    Args:
        message: Reading of the current message, whose complaint is asked about.
        whole: Reading of the current and the earlier messages; used if the message has no
            complaint.
        ready: The compiled rules.
        people: Ids of the population groups that apply.
        tier: The tier so far; only questions that can raise it are asked, so none for an emergency.
        answers: Answers so far, by question id.
    """
    if tier == "emergency":
        return ()
    for reading in (message, whole):
        found = _of_complaints(reading) + _of_rules(reading, ready, people)
        if found:
            break
    wanted = [one for one in found if rank(one.tier) > rank(tier)]
    if len(wanted) < FEWEST:
        wanted += [one for one in _file().anyone if rank(one.tier) > rank(tier)]
    unique = list({one.id: one for one in wanted if _is_open(one, whole, people)}.values())
    return tuple(_question(one, ready) for one in unique[:MOST] if one.id not in answers)


def happening() -> Question:
    """Return the question "is this happening now?", the first reply to a general question."""
    return _question(_file().general, prepared())


def check(answers: Mapping[str, str]) -> None:
    """Check that every answer is valid and belongs to a known question.

    Raises:
        UserError: If an id belongs to no question, or an answer is not in `ANSWERS`.
    """
    for name, answer in answers.items():
        if name not in _by_id() and name.removeprefix(_CONCEPT) not in _file().concepts:
            raise UserError(
                f"answers: there is no question {name!r}. The questions of a text are in "
                "`questions` of its triage."
            )
        if answer not in ANSWERS:
            raise UserError(f"answers: {name} is {answer!r}; it must be {', '.join(ANSWERS)}.")


def answered(answers: Mapping[str, str]) -> list[Finding]:
    """Return the findings that follow from answers, by question id, to questions of the file."""
    found = []
    for name, answer in answers.items():
        one = _by_id().get(name)
        if one is None or answer == "no" or name == HAPPENING:
            continue
        found.append(_finding(one, answer, prepared().rules.sources[one.source]))
    return found


def concepts_answered(answers: Mapping[str, str], answer: str) -> dict[str, str]:
    """Return the question text for each concept whose question got this answer ("yes")."""
    asked = _file().concepts
    names = [n.removeprefix(_CONCEPT) for n, a in answers.items() if a == answer]
    return {name: asked[name] for name in names if name in asked}


def _question(one: Asked, ready: Prepared) -> Question:
    known = {**prepared().rules.sources, **ready.rules.sources}
    return Question(one.id, one.text, one.tier, one.reason, known[one.source])


def _finding(one: Asked, answer: str, source: Source) -> Finding:
    unsure = answer == "not sure" and one.tier == "emergency"
    tier: Tier = "today" if unsure else one.tier
    reason = f"You are not sure of this, so be careful. {one.reason}" if unsure else one.reason
    return Finding(one.id, tier, reason, _DO[tier], source, (one.text,), "questions")


def _is_open(one: Asked, reading: Reading, people: Collection[str]) -> bool:
    if one.people and not set(one.people) & set(people):
        return False
    return not any(name in reading.words or name in reading.denied for name in one.concepts)


def _of_complaints(reading: Reading) -> list[Asked]:
    return [
        one
        for complaint in _file().complaints
        if any(name in reading.words for name in complaint.concepts)
        for one in complaint.ask
    ]


def _of_rules(reading: Reading, ready: Prepared, people: Collection[str]) -> list[Asked]:
    found: dict[str, Asked] = {}
    near = sorted(one_short(reading, ready, people), key=lambda short: -rank(short.rule.tier))
    for rule, missing in near:
        for name in missing:
            if rule.tier == "self-care" or name not in _file().concepts or name in found:
                continue
            found[name] = Asked(
                id=f"{_CONCEPT}{name}",
                text=_file().concepts[name],
                tier=rule.tier,
                reason=rule.reason,
                source=rule.source,
                concepts=(name,),
            )
    return list(found.values())


@cache
def _file() -> _File:
    path = files("galenic.assistant.triage").joinpath("data/questions.yaml")
    return _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


@cache
def _by_id() -> dict[str, Asked]:
    shown = _file()
    groups = [shown.anyone, (shown.general,), *(one.ask for one in shown.complaints)]
    return {one.id: one for group in groups for one in group}
