"""Result types of triage: findings, disregarded mentions, follow-up questions and the tier."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from galenic.assistant.triage.rules import Source
from galenic.assistant.triage.scope import Status
from galenic.assistant.triage.tiers import Tier, rank

__all__ = [
    "ANSWERS",
    "GENERAL_NOTE",
    "NOTICE",
    "UNKNOWN_NOTE",
    "Answer",
    "Aside",
    "Finding",
    "Layer",
    "Question",
    "Triage",
    "raise_to",
]

UNKNOWN_NOTE = (
    "We could not tell how urgent this is. That does not mean that all is well: ask a pharmacist, "
    "a nurse line or a doctor if you are unsure."
)
GENERAL_NOTE = (
    "This reads as a general question: nobody is said to be ill now. If that is not so, say who "
    "has which symptoms, and since when."
)
NOTICE = (
    "For education only: no diagnosis, no medical advice, not a medical device. If you are worried "
    "or it gets worse, seek help, regardless of what this page says."
)

Layer = Literal[
    "concepts", "values", "poisoning", "self-harm", "questions", "classifier", "languages"
]
"""The part of triage that produced a finding."""

Answer = Literal["yes", "no", "not sure"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)
"""The answers that a `Question` accepts."""


@dataclass(frozen=True)
class Finding:
    """Evidence in the text that determines how soon help is needed.

    Attributes:
        id: Id of the rule, threshold or question that produced it.
        tier: How soon help is needed.
        reason: Why, in plain words for the reader.
        do: What to do, in plain words for the reader.
        source: The published guidance behind it.
        words: Words of the text that triggered it, for example ``("chest pain", "sweating")``.
        layer: The part of triage that produced it.
    """

    id: str
    tier: Tier
    reason: str
    do: str
    source: Source
    words: tuple[str, ...]
    layer: Layer = "concepts"


@dataclass(frozen=True)
class Aside:
    """A mention of a symptom that does not count toward the tier.

    Attributes:
        words: The mention as the text has it, such as "chest pain".
        why: Why it does not count: it is denied, past, about a relative, or only asked about.
    """

    words: str
    why: Status


@dataclass(frozen=True)
class Question:
    """A follow-up question whose answer may change the tier; written by people, not by a model.

    Attributes:
        id: Stable id; the key of the answer in ``triage(text, answers={id: "yes"})``.
        text: The question in plain words, to be answered with one of `ANSWERS`.
        tier: The tier that "yes" leads to. "Not sure" leads to the same tier, but to ``today`` at
            most.
        reason: Why it is asked.
        source: The published guidance behind it.
    """

    id: str
    text: str
    tier: Tier
    reason: str
    source: Source


@dataclass(frozen=True)
class Triage:
    """The result of triage: how soon help is needed, why, and what to ask next.

    Attributes:
        tier: The most urgent tier of the findings; ``unknown`` if there are none.
        findings: What was found, most urgent first.
        populations: Ids of the population groups that the text or the record names.
        asides: Mentions of symptoms that do not count.
        notes: Messages for the reader.
        raised: Why a model raised the tier; empty if none did.
        questions: Questions to ask before relying on the tier, most important first: at most five,
            none if the tier is ``emergency`` or all were answered. Call `triage` again with the
            same text and ``answers`` to get the resulting tier.
        final: Whether the tier can be relied on as it stands. ``self-care`` and ``unknown`` are not
            final while there are open questions.
        general: Whether the text reads as a general question in which nobody is said to be ill now.
        people: Descriptions of the population groups for the reader, with evidence from the record.
    """

    tier: Tier
    findings: tuple[Finding, ...] = ()
    populations: tuple[str, ...] = ()
    asides: tuple[Aside, ...] = ()
    notes: tuple[str, ...] = ()
    raised: str = ""
    questions: tuple[Question, ...] = ()
    final: bool = True
    general: bool = False
    people: tuple[str, ...] = ()

    @property
    def leading(self) -> tuple[Finding, ...]:
        """Return the findings that determine the tier."""
        return tuple(finding for finding in self.findings if finding.tier == self.tier)

    def describe(self) -> dict[str, Any]:
        """Return all fields, ``answers`` and `NOTICE` as a JSON-serializable dictionary."""
        findings = [{**vars(f), "source": f.source.model_dump(mode="json")} for f in self.findings]
        questions = [
            {**vars(q), "source": q.source.model_dump(mode="json")} for q in self.questions
        ]
        asides = [vars(aside) for aside in self.asides]
        lists = {"findings": findings, "asides": asides, "questions": questions}
        return {**vars(self), **lists, "answers": ANSWERS, "notice": NOTICE}


def raise_to(result: Triage, tier: Tier, reason: str) -> Triage:
    """Return a result whose tier is raised to the given one; a less urgent tier changes nothing.

    A model may call this to make triage more cautious. The tier ``unknown`` is never changed to
    ``self-care``, because a model alone must not reassure. A raised result is no general question.

    Args:
        result: The result of triage.
        tier: The tier to raise to.
        reason: Why, in plain words for the reader.

    Raises:
        ValueError: If ``reason`` is empty.
    """
    if not reason.strip():
        raise ValueError("a tier is raised for a reason: none was given")
    if rank(tier) <= rank(result.tier) or tier == "self-care":
        return result
    questions = () if tier == "emergency" else result.questions
    notes = tuple(note for note in result.notes if note not in (GENERAL_NOTE, UNKNOWN_NOTE))
    return replace(
        result, tier=tier, raised=reason.strip(), questions=questions, final=True, notes=notes,
        general=False,
    )  # fmt: skip
