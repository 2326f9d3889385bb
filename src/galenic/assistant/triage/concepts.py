"""First layer of triage: match the rules of ``rules.yaml`` against the concepts of a reading.

This layer determines the tier; the layers after it can only raise it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from galenic.assistant.triage.reading import Reading
from galenic.assistant.triage.result import Finding
from galenic.assistant.triage.rules import Prepared, Rule
from galenic.assistant.triage.tiers import Tier
from galenic.assistant.triage.words.wording import plain_tokens

__all__ = ["IF_NOW", "Short", "find", "one_short"]

IF_NOW = "If this is happening to somebody now, or you are not sure: "
"""What the advice of a finding begins with whose danger is only named."""


class Short(NamedTuple):
    """A rule that lacks exactly one concept to match.

    Attributes:
        rule: The rule.
        missing: The concepts of which any single one would complete it.
    """

    rule: Rule
    missing: tuple[str, ...]


def find(reading: Reading, ready: Prepared, people: Collection[str]) -> list[Finding]:
    """Return a finding for each rule that matches, in the order of the rules file."""
    return [f for rule in ready.rules.rules if (f := _fire(rule, ready, reading, people))]


def one_short(reading: Reading, ready: Prepared, people: Collection[str]) -> list[Short]:
    """Return the rules that would match if the text mentioned one more concept.

    Rules of which no concept was mentioned are left out. For a rule that needs "chest pain" and
    "sweating", a text with "chest pain" alone gives that rule with ``missing=("sweating",)``.
    """
    found = []
    for rule in ready.rules.rules:
        if rule.population and not set(rule.population) & set(people):
            continue
        missing = [name for name in rule.all_of if name not in reading.words]
        some = [name for name in rule.any_of if name in reading.words]
        lacking = rule.at_least - len(some) if rule.any_of else 0
        if len(missing) + max(0, lacking) != 1 or not (len(missing) < len(rule.all_of) or some):
            continue
        found.append(Short(rule, tuple(missing or [n for n in rule.any_of if n not in some])))
    return found


def _fire(rule: Rule, ready: Prepared, reading: Reading, people: Collection[str]) -> Finding | None:
    if rule.population and not set(rule.population) & set(people):
        return None
    if not all(concept in reading.words for concept in rule.all_of):
        return None
    some = [concept for concept in rule.any_of if concept in reading.words]
    if rule.any_of and len(some) < rule.at_least:
        return None
    used = [*rule.all_of, *some]
    tier: Tier = rule.tier
    do = rule.do
    if rule.when_gone is not None and not any(concept in reading.here for concept in used):
        tier = rule.when_gone
    words = tuple(dict.fromkeys(word for concept in used for word in reading.words[concept]))
    if tier == "emergency" and not reading.trouble and all(_only_names(w, ready) for w in words):
        tier, do = "today", f"{IF_NOW}{do}"
    return Finding(rule.id, tier, rule.reason, do, ready.rules.sources[rule.source], words)


def _only_names(words: str, ready: Prepared) -> bool:
    """Check whether words only name a danger, such as "stroke"."""
    tokens = plain_tokens(words)
    return any((one.start, one.end) == (0, len(tokens)) for one in ready.names.find(tokens))
