"""What triage says of a text: findings, what does not count, open questions, one tier."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from galenic.assistant.triage.rules import Source
from galenic.assistant.triage.scope import Status
from galenic.assistant.triage.tiers import Tier, rank

__all__ = [
    "ANSWERS",
    "NOTICE",
    "Answer",
    "Aside",
    "Finding",
    "Layer",
    "Question",
    "Triage",
    "raise_to",
]

NOTICE = (
    "For education only: no diagnosis, no medical advice, not a medical device. If you are worried "
    "or it gets worse, seek help, regardless of what this page says."
)

Layer = Literal[
    "concepts", "values", "poisoning", "self-harm", "questions", "classifier", "languages"
]
"""Which part of triage found something: one file of this folder each."""

Answer = Literal["yes", "no", "not sure"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)
"""What a question may be answered with."""


@dataclass(frozen=True)
class Finding:
    """Something in the text that says how soon help is needed.

    Attributes:
        id: of the rule, threshold or question behind it.
        tier: how soon help is needed.
        reason: why, in plain words.
        do: what to do.
        source: the guidance behind it.
        words: of the text, that led to it.
        layer: the part of triage that found it.
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
    """Words that name a symptom but do not count, and why: denied, past, family or question."""

    words: str
    why: Status


@dataclass(frozen=True)
class Question:
    """A question whose answer may change the tier; people wrote it, no model did.

    Attributes:
        id: stable; the key of the answer in ``triage(text, answers={id: "yes"})``.
        text: in plain words, to be answered with one of `ANSWERS`.
        tier: what "yes" leads to. "Not sure" leads to the same, but to ``today`` at most.
        reason: why it is asked.
        source: the guidance behind it.
    """

    id: str
    text: str
    tier: Tier
    reason: str
    source: Source


@dataclass(frozen=True)
class Triage:
    """How soon help is needed, and why.

    Attributes:
        tier: the most urgent one of the findings; ``unknown`` without any.
        findings: what was found, the most urgent first.
        populations: ids of the groups of people that the text or the record names.
        asides: what was mentioned and does not count.
        notes: for the reader.
        raised: why a model raised the tier; empty when none did.
        questions: what should be asked before the tier is relied on, the most important first: two
            to five, none when the tier is ``emergency`` or all were answered. Call
            `triage` again with the same text and ``answers`` to get the tier that follows.
        final: whether the tier may be relied on as it stands. ``self-care`` and ``unknown`` are
            not final while there are questions.
        general: the text reads as a general question; nobody is said to be ill now.
        people: the groups of people in words for the reader, with what their record says.
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
        """The findings that set the tier."""
        return tuple(finding for finding in self.findings if finding.tier == self.tier)

    def describe(self) -> dict[str, Any]:
        """For JSON: the fields, and `NOTICE`."""
        findings = [{**vars(f), "source": f.source.model_dump(mode="json")} for f in self.findings]
        questions = [
            {**vars(q), "source": q.source.model_dump(mode="json")} for q in self.questions
        ]
        asides = [vars(aside) for aside in self.asides]
        lists = {"findings": findings, "asides": asides, "questions": questions}
        return {**vars(self), **lists, "answers": ANSWERS, "notice": NOTICE}


def raise_to(result: Triage, tier: Tier, reason: str) -> Triage:
    """The result with a more urgent tier, as a model may ask for; never with a less urgent one.

    A text of which the urgency is unknown is not made ``self-care``: that would be reassurance by
    a model alone.

    Raises:
        ValueError: no reason is given.
    """
    if not reason.strip():
        raise ValueError("a tier is raised for a reason: none was given")
    if rank(tier) <= rank(result.tier) or tier == "self-care":
        return result
    questions = () if tier == "emergency" else result.questions
    return replace(result, tier=tier, raised=reason.strip(), questions=questions, final=True)
