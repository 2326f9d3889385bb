"""Signs to watch for, and questions for an appointment; from rules and entries, not a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from galenic.assistant.triage.rules import Rule, Source, prepared
from galenic.assistant.triage.tiers import rank
from galenic.assistant.triage.triage import Triage

__all__ = ["ASKING", "general_questions", "to_watch"]

MOST = 4
"""Maximum number of triage rules whose signs are shown."""
ASKING = Source(
    name="Galenic's handbook; more at AHRQ: Questions To Ask Your Doctor",
    url="https://www.ahrq.gov/questions/index.html",
)
"""Source of the questions; AHRQ is the US Agency for Healthcare Research and Quality."""
GENERAL = Source(
    name="MedlinePlus: Recognizing medical emergencies",
    url="https://medlineplus.gov/ency/article/001927.htm",
)
"""Source of the general emergency advice."""
_ALWAYS = (
    "Call your emergency number for trouble breathing, chest pain, signs of a stroke, bleeding "
    "that does not stop, fainting, sudden confusion, or sudden severe pain."
)
_SOON = {"emergency": "Emergency", "today": "The same day"}


def to_watch(found: Triage, rules: Path | None = None) -> Iterator[tuple[str, Source]]:
    """Yield signs that would make the complaint more urgent, with their sources.

    Signs come from triage rules of a higher tier that share a symptom with the user's message,
    those with most symptoms in common first. General emergency advice comes last.

    Args:
        found: the triage result of the message.
        rules: path of the triage rules; by default those of the package.

    Yields:
        Text for the user (how soon help would be needed, and why), and the public guidance that it
        follows.
    """
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


def general_questions() -> tuple[str, ...]:
    """Return general questions for an appointment, used if no handbook entry provides its own."""
    return (
        "What could this be, and what else could it be?",
        "Do I need tests, and when do I get the results?",
        "What can I do until then, and when should I come back?",
    )


def _worse(rule: Rule, found: Triage, named: set[str]) -> bool:
    """Check whether a rule shares a symptom with the message and has a higher tier.

    Args:
        rule: a triage rule.
        found: the triage result of the message.
        named: symptoms in the rules that matched the message.
    """
    shared = named & set(rule.all_of) or (len(rule.any_of) <= 2 and named & set(rule.any_of))
    return bool(shared) and rank(rule.tier) > rank(found.tier)
