"""What to watch for and what to ask: from rules and passages, never from a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from galenic.assistant.search.retrieve import Passage, Retriever
from galenic.assistant.triage.rules import Rule, Source, prepared
from galenic.assistant.triage.tiers import rank
from galenic.assistant.triage.triage import Triage

__all__ = ["Asking", "to_ask", "to_watch"]

MOST = 4
ASKING = Source(
    name="AHRQ: Questions To Ask Your Doctor", url="https://www.ahrq.gov/questions/index.html"
)
"""US Agency for Healthcare Research and Quality."""
GENERAL = Source(
    name="MedlinePlus: Recognizing medical emergencies",
    url="https://medlineplus.gov/ency/article/001927.htm",
)
_ALWAYS = (
    "Call your emergency number for trouble breathing, chest pain, signs of a stroke, bleeding "
    "that does not stop, fainting, sudden confusion, or sudden severe pain."
)
_SOON = {"emergency": "Emergency", "today": "The same day"}
_KINDS = (
    ("diagnose", "Which tests would show {topic}, and when do I get the results?"),
    ("treatments", "What are the treatments for {topic}, and what are their side effects?"),
    ("prevent", "What can I do to prevent {topic} in future?"),
)
"""Words of MedQuAD's questions, and what to ask when there is such a passage."""


@dataclass(frozen=True)
class Asking:
    """A question for the appointment, and the passage that prepares for it, if there is one."""

    text: str
    passage: Passage | None = None


def to_watch(found: Triage, rules: Path | None = None) -> Iterator[tuple[str, Source]]:
    """What would make it more urgent: the rules that share most with what was said come first."""
    ready = prepared(rules)
    by_id = {rule.id: rule for rule in ready.rules.rules}
    fired = [by_id[finding.id] for finding in found.findings if finding.id in by_id]
    named = {concept for rule in fired for concept in (*rule.all_of, *rule.any_of)}
    more = [rule for rule in ready.rules.rules if _worse(rule, found, named)]
    more.sort(
        key=lambda rule: (
            bool(rule.population),
            -len(named & {*rule.all_of, *rule.any_of}),
            -rank(rule.tier),
        )
    )
    seen: set[str] = set()
    for rule in more:
        if rule.reason not in seen and len(seen) < MOST:
            seen.add(rule.reason)
            yield f"{_SOON.get(rule.tier, 'Soon')}: {rule.reason}", ready.rules.sources[rule.source]
    yield _ALWAYS, GENERAL


def to_ask(retriever: Retriever | None, topic: str) -> list[Asking]:
    """Questions to bring along.

    Args:
        retriever: finds the passages that prepare for them; None without an index.
        topic: title of what the answer is about; empty when nothing was found.
    """
    name = topic if topic.isupper() else topic.lower()
    if not name:
        return [
            Asking("What could this be, and what else could it be?"),
            Asking("Do I need tests, and when do I get the results?"),
            Asking("What can I do until then, and when should I come back?"),
        ]
    asked = [Asking(f"Could this be {name}, and what else could it be?")]
    for kind, text in _KINDS:
        passage = None if retriever is None else _of_kind(retriever, topic, kind)
        if passage is not None:
            asked.append(Asking(text.format(topic=name), passage))
    asked.append(Asking("Does it fit with the medicines that I take and my other conditions?"))
    asked.append(Asking("How soon should it be better, and when should I come back?"))
    return asked


def _worse(rule: Rule, found: Triage, named: set[str]) -> bool:
    """Whether a rule is about what was said, more urgent, and for people who may be meant."""
    shared = named & set(rule.all_of) or (len(rule.any_of) <= 2 and named & set(rule.any_of))
    return bool(shared) and rank(rule.tier) > rank(found.tier)


def _of_kind(retriever: Retriever, topic: str, kind: str) -> Passage | None:
    """A passage of the same title that answers a question of this kind."""
    for passage in retriever.search(f"{kind} {topic}", 20):
        if passage.title == topic and kind in passage.question.lower():
            return passage
    return None
