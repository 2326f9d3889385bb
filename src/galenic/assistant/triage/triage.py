"""How soon a person needs help, by reviewable rules and before any model runs.

The same text gives the same answer on every machine. Nothing is logged or stored. It is
educational: no diagnosis, no medical device.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from galenic.assistant.triage.people import ages_in_months
from galenic.assistant.triage.phrase import Mention
from galenic.assistant.triage.rules import MASK, Population, Prepared, Rule, Source, prepared
from galenic.assistant.triage.scope import Scope, Status
from galenic.assistant.triage.tiers import Tier, highest, rank
from galenic.assistant.triage.wording import Sentence, sentences

__all__ = ["NOTICE", "Aside", "Finding", "Triage", "raise_to", "triage"]

NOTICE = (
    "For education only: no diagnosis, no medical advice, not a medical device. "
    "If you are worried or it gets worse, seek help, whatever stands here."
)
FIRST, LAST = 20_000, 5_000
"""Characters that are read at the beginning and the end of a longer text."""
MOST_ASIDES = 20

UNKNOWN_NOTE = (
    "No rule knows this text. That does not mean that all is well: ask a pharmacist, a nurse line "
    "or a doctor if you are unsure."
)
QUESTION_NOTE = (
    "This reads as a general question, not as something that is happening now. If it is happening "
    "to you or to somebody with you, say so, or call your emergency number."
)
CUT_NOTE = "The text is long: only its beginning and its end were read. Say it in fewer words."


@dataclass(frozen=True)
class Finding:
    """A rule that fired.

    Attributes:
        id: the rule's.
        tier: how soon help is needed.
        reason: why, in plain words.
        do: what to do.
        source: the guidance behind it.
        words: of the text, that made it fire.
    """

    id: str
    tier: Tier
    reason: str
    do: str
    source: Source
    words: tuple[str, ...]


@dataclass(frozen=True)
class Aside:
    """Words that name a symptom but do not count, and why: denied, past, family or question."""

    words: str
    why: Status


@dataclass(frozen=True)
class Triage:
    """What the rules say of a text.

    Attributes:
        tier: the most urgent one of the findings; ``unknown`` without any.
        findings: the rules that fired, the most urgent first.
        populations: the groups of people that the text names.
        asides: what was mentioned and does not count.
        notes: for the reader.
        raised: why a model raised the tier; empty when none did.
    """

    tier: Tier
    findings: tuple[Finding, ...] = ()
    populations: tuple[str, ...] = ()
    asides: tuple[Aside, ...] = ()
    notes: tuple[str, ...] = ()
    raised: str = ""

    @property
    def leading(self) -> tuple[Finding, ...]:
        """The findings that set the tier."""
        return tuple(finding for finding in self.findings if finding.tier == self.tier)

    def describe(self) -> dict[str, Any]:
        """For JSON: the fields, and `NOTICE`."""
        findings = [{**vars(f), "source": f.source.model_dump()} for f in self.findings]
        asides = [vars(aside) for aside in self.asides]
        return {**vars(self), "findings": findings, "asides": asides, "notice": NOTICE}


def triage(text: str, rules: Path | None = None, *, about: str = "") -> Triage:
    """How soon the person who wrote the text needs help.

    Args:
        text: in the person's own words; of more than `FIRST` + `LAST` characters only the
            beginning and the end are read, and a note says so.
        about: what is known of the person from elsewhere, a health record: it tells the groups of
            people that they belong to; what it names besides does not count.
        rules: a rules file of one's own; None = the reviewed one.

    Raises:
        UserError: the rules file cannot be read or is not valid.
    """
    ready = prepared(rules)
    cut = len(text) > FIRST + LAST
    reading = _read(f"{text[:FIRST]}\n\n{text[-LAST:]}" if cut else text, ready)
    people = _populations(ready.rules.populations, reading)
    if about:
        known = _populations(ready.rules.populations, _read(about, ready))
        people = list(dict.fromkeys([*people, *known]))
    fired = [f for rule in ready.rules.rules if (f := _fire(rule, ready, reading, people))]
    fired.sort(key=lambda finding: -rank(finding.tier))
    tier = highest(*(finding.tier for finding in fired))
    notes = [CUT_NOTE] if cut else []
    if tier == "unknown":
        asked = any(aside.why == "question" for aside in reading.asides)
        notes.append(QUESTION_NOTE if asked else UNKNOWN_NOTE)
    asides = tuple(dict.fromkeys(reading.asides))[:MOST_ASIDES]
    return Triage(tier, tuple(fired), tuple(people), asides, tuple(notes))


def raise_to(result: Triage, tier: Tier, reason: str) -> Triage:
    """The result with a more urgent tier, as a model may ask for; never with a less urgent one.

    A text that no rule knows is not made ``self-care``: that would be reassurance by a model alone.

    Raises:
        ValueError: no reason is given.
    """
    if not reason.strip():
        raise ValueError("a tier is raised for a reason: none was given")
    if rank(tier) <= rank(result.tier) or tier == "self-care":
        return result
    return replace(result, tier=tier, raised=reason.strip())


@dataclass
class _Reading:
    """What a text says: per concept the words that count; what does not count; ages."""

    words: dict[str, list[str]]
    here: set[str]
    """Concepts that are not over yet."""
    asides: list[Aside]
    months: list[float]


def _read(text: str, ready: Prepared) -> _Reading:
    mended = [_mend(sentence, ready) for sentence in sentences(text)]
    marks = [ready.context.find(sentence.tokens) for sentence in mended]
    about_risk = any(mark.concept == "risk" for found in marks for mark in found)
    reading = _Reading({}, set(), [], [])
    for sentence, context in zip(mended, marks, strict=True):
        mentions = _unmasked(ready.symptoms.find(sentence.tokens))
        scope = Scope(sentence, context, mentions, about_risk=about_risk)
        _note_mentions(sentence, scope, mentions, ready, reading)
        for at, months in ages_in_months(sentence.tokens):
            if scope.status(Mention("age", at, at + 1)) != "family" and not scope.is_in("past", at):
                reading.months.append(months)
    return reading


def _unmasked(mentions: Sequence[Mention]) -> list[Mention]:
    """Without what stands wholly inside "hay fever", "chest of drawers" and the like."""
    covered = {p: m for m in mentions if m.concept == MASK for p in range(m.start, m.end)}
    kept = []
    for mention in mentions:
        mask = covered.get(mention.start)
        inside = mask is not None and mention.end <= mask.end
        if not inside or (mask and mention[1:] == mask[1:] and mention.concept != MASK):
            kept.append(mention)
    return kept


def _mend(sentence: Sentence, ready: Prepared) -> Sentence:
    tokens = [ready.speller.mend(token) for token in sentence.tokens]
    for at, (token, follows) in enumerate(pairwise(tokens)):
        if follows in ready.rules.compounds.get(token, ()):
            tokens[at] = token + "x"
    return replace(sentence, tokens=tuple(tokens))


def _note_mentions(
    sentence: Sentence,
    scope: Scope,
    mentions: Sequence[Mention],
    ready: Prepared,
    reading: _Reading,
) -> None:
    for mention in mentions:
        words = " ".join(sentence.shown[mention.start : mention.end])
        status = scope.status(mention)
        if status == "past" and ready.rules.concepts[mention.concept].lasting:
            status = "counts"
        if status != "counts" and mention.concept in ready.quiet:
            continue
        if status != "counts":
            reading.asides.append(Aside(words, status))
            continue
        gone = scope.is_gone(mention)
        for concept in ready.families[mention.concept]:
            said = reading.words.setdefault(concept, [])
            if words not in said and len(said) < MOST_ASIDES:
                said.append(words)
            if not gone:
                reading.here.add(concept)


def _populations(known: dict[str, Population], reading: _Reading) -> list[str]:
    return [name for name, population in known.items() if _belongs(population, reading)]


def _belongs(population: Population, reading: _Reading) -> bool:
    if any(concept in reading.words for concept in population.concepts):
        return True
    young, old = population.under_months, population.from_years
    return any(
        (young is not None and months < young) or (old is not None and months >= 12 * old)
        for months in reading.months
    )


def _fire(rule: Rule, ready: Prepared, reading: _Reading, people: Iterable[str]) -> Finding | None:
    if rule.population and not set(rule.population) & set(people):
        return None
    if not all(concept in reading.words for concept in rule.all_of):
        return None
    some = [concept for concept in rule.any_of if concept in reading.words]
    if rule.any_of and len(some) < rule.at_least:
        return None
    used = [*rule.all_of, *some]
    tier: Tier = rule.tier
    if rule.when_gone is not None and not any(concept in reading.here for concept in used):
        tier = rule.when_gone
    words = tuple(dict.fromkeys(word for concept in used for word in reading.words[concept]))
    return Finding(rule.id, tier, rule.reason, rule.do, ready.rules.sources[rule.source], words)
