"""Entry point of triage: estimate how soon the writer of a message needs medical help.

The rule layer (`galenic.assistant.triage.concepts`) determines the tier; the layers listed in
`galenic.assistant.triage.raising.layers` can only raise it. The result is deterministic and the
same on every machine; nothing is logged or stored. It is for education only: it is not a diagnosis,
and Galenic is not a medical device.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from galenic.assistant.triage import known, questions
from galenic.assistant.triage.concepts import IF_NOW, find
from galenic.assistant.triage.earlier import bounded, last_of, recent
from galenic.assistant.triage.framing import is_of_premises
from galenic.assistant.triage.general import reads_general, without_idle_questions
from galenic.assistant.triage.raising import languages, self_harm, values
from galenic.assistant.triage.raising.layers import RAISING
from galenic.assistant.triage.reading import MOST_ASIDES, Reading, populations, read
from galenic.assistant.triage.result import (
    ANSWERS,
    GENERAL_NOTE,
    NOTICE,
    UNKNOWN_NOTE,
    Answer,
    Aside,
    Finding,
    Question,
    Triage,
    raise_to,
)
from galenic.assistant.triage.rules import Prepared, prepared
from galenic.assistant.triage.said import Said
from galenic.assistant.triage.tiers import Tier, highest, rank
from galenic.assistant.triage.words.babies import baby_months
from galenic.assistant.triage.words.measures import measure
from galenic.assistant.triage.words.wording import plain_tokens
from galenic.record.facts import Fact
from galenic.retrieval.hidden import Words, revealed
from galenic.retrieval.legible import legible

__all__ = [
    "ANSWERS",
    "NOTICE",
    "Answer",
    "Aside",
    "Finding",
    "Question",
    "Triage",
    "raise_to",
    "triage",
]

_GRAVE = frozenset({"suicidal", "self_harm", "harm_others", "overdose"})
"""Concepts so dangerous that a message with one of them is never treated as a general question."""
BABY = 24.0
"""Age in months. If no lower age was found, `baby_months` also looks for informal expressions of
age."""
MOST_HIDDEN = 20_000
"""Maximum length in characters of a text that is searched for hidden words."""
TELLING = 8
"""Fewest letters of a single symptom word for which joined words are taken apart."""


def triage(
    text: str,
    rules: Path | None = None,
    *,
    facts: Sequence[Fact] = (),
    history: Sequence[str] = (),
    answers: Mapping[str, Answer] | None = None,
    layers: Collection[str] | None = None,
) -> Triage:
    """Estimate how soon the person who wrote a message needs medical help.

    If the tier is not ``emergency``, ``Triage.questions`` holds what to ask next::

        found = triage("my calf hurts")
        replies = {question.id: "no" for question in found.questions}
        found = triage("my calf hurts", answers=replies)   # found.final is True

    Args:
        text: The current message in the person's own words, of any length. Up to 120,000 characters
            are read in full, not counting repeated sentences. Of a longer message the beginning,
            the end and selected sentences between them are read, and a note says so.
        rules: Path of a custom rules file; None uses the rules that come with Galenic.
        facts: Facts of the person's health record. They add population groups and risk factors, and
            can only raise the tier.
        history: Earlier messages and notes, oldest first. Symptoms in them count unless a date
            shows that they are old; lasting facts, such as a chronic illness, always count.
        answers: Answers to the questions of an earlier call, by question id: ``yes``, ``no`` or
            ``not sure``. They never lower the tier.
        layers: Names of the raising layers to run; None runs all of them, except for the classifier
            if ``rules`` is given.

    Raises:
        UserError: If the rules file cannot be read or is invalid, or if an answer has an unknown
            question id or value.
    """
    found = _judged(text, rules, facts, history, answers, layers)

    def is_idle(question: str) -> bool:
        return rank(_judged(question, rules, layers=layers).tier) < rank("today")

    ways: Sequence[Callable[[], str | None]] = (
        lambda: without_idle_questions(text, is_idle),
        lambda: _revealed(text, rules),
    )
    for way in ways:
        if found.tier != "emergency" and (other := way()) is not None:
            beside = _judged(other, rules, facts, history, answers, layers)
            found = beside if rank(beside.tier) > rank(found.tier) else found
    return found


def _revealed(text: str, rules: Path | None) -> str | None:
    """Return a text with hidden words in plain writing, or None if there are none."""
    if len(text) > MOST_HIDDEN:
        return None
    known = prepared(rules).symptoms

    def says(words: str) -> bool:
        tokens = plain_tokens(words)
        return any(
            one.end > one.start + 1 or len(tokens[one.start]) >= TELLING
            for one in known.find(tokens)
        )

    words = Words(known.vocabulary, known.stems, says)
    return revealed(legible(text), words)


def _judged(
    text: str,
    rules: Path | None = None,
    facts: Sequence[Fact] = (),
    history: Sequence[str] = (),
    answers: Mapping[str, Answer] | None = None,
    layers: Collection[str] | None = None,
) -> Triage:
    """Judge a message as it stands; the arguments are those of `triage`."""
    ready, replies = prepared(rules), dict(answers or {})
    questions.check(replies)
    happening = replies.get(questions.HAPPENING) in ("yes", "not sure")
    text, cut = bounded(text)
    history, left_out = last_of(history)
    text, history = legible(text), [legible(one) for one in history]
    reading = _read(text, ready, happening=happening)
    earlier = [_earlier(one, ready, happening=happening) for one in history]
    record = known.known(facts, ready)
    spoken = [reading, *(one.reading for one in earlier)]
    whole = _joined(reading, spoken[1:])
    known.add(whole, record, ready)
    before = [one.text for one in earlier]
    said = _said(text, before, whole, [*spoken, record], ready)
    for concept, words in values.implied(said[-1].measured).items():
        whole.say(concept, words, ready)
    plain = _said(text, before, whole, spoken, ready) if facts else []
    found = _found(said, plain, ready, replies, _layers(rules, layers))
    alone = rules is None and not (facts or history or happening)
    if alone and _only_asks(reading, found):
        found = _without_alarms(said[0], found)
    tier = highest(*(finding.tier for finding in found))
    result = _result(tier, found, reading, said[0], ready, replies)
    people = known.described(said[0].people, record, ready)
    return replace(result, people=people, notes=(*cut, *left_out, *result.notes))


def _only_asks(reading: Reading, found: Sequence[Finding]) -> bool:
    """Check whether only concept rules are alarmed and the message reads as a general question."""
    alarms = {finding.layer for finding in found if finding.tier == "emergency"}
    return alarms == {"concepts"} and not _GRAVE & set(reading.words) and reads_general(reading)


def _without_alarms(said: Said, found: Sequence[Finding]) -> list[Finding]:
    """Drop the findings of tier ``emergency`` and record their words as only asked about."""
    alarms = [finding for finding in found if finding.tier == "emergency"]
    said.reading.asides += [Aside(word, "question") for finding in alarms for word in finding.words]
    said.reading.general = True
    return [finding for finding in found if finding not in alarms]


class _Earlier(NamedTuple):
    """An earlier message or note, reduced to what still counts.

    Attributes:
        text: The paragraphs that are not old by their dates.
        reading: Concepts of these paragraphs, and lasting ones of the whole text.
    """

    text: str
    reading: Reading


def _read(text: str, ready: Prepared, *, happening: bool) -> Reading:
    reading = read(self_harm.without_figures(text), ready, happening=happening)
    if not any(one < BABY for one in reading.months):
        reading.months += baby_months(text)
    return reading


def _earlier(text: str, ready: Prepared, *, happening: bool) -> _Earlier:
    """Read an earlier message; of its old paragraphs only lasting concepts (a transplant) count."""
    kept = recent(text)
    reading = _read(kept, ready, happening=happening)
    if kept != text.strip():
        for concept, words in read(text, ready).words.items():
            if ready.rules.concepts[concept].lasting:
                reading.say(concept, words[0], ready, here=False)
    return _Earlier(kept, reading)


def _said(
    text: str,
    before: Sequence[str],
    whole: Reading,
    readings: Sequence[Reading],
    ready: Prepared,
) -> list[Said]:
    """Build the inputs of the raising layers: the message alone, and with earlier ones."""
    first = readings[0]
    people = tuple(populations(ready.rules.populations, *readings))
    months = tuple(m for one in readings for m in one.months)
    alone = replace(whole, counted=first.counted, general=first.general)
    said = [Said(text, alone, people, months, tuple(measure(text)))]
    if before:
        joined = "\n\n".join((*before, text))
        said.append(Said(joined, whole, people, months, tuple(measure(joined))))
    return said


def _layers(rules: Path | None, layers: Collection[str] | None) -> Collection[str]:
    """Return the raising layers to run; custom rules disable the classifier by default."""
    if layers is not None:
        return layers
    return [name for name in RAISING if rules is None or name != "classifier"]


def _joined(reading: Reading, earlier: Sequence[Reading]) -> Reading:
    """Return a reading that merges the current message with the earlier ones."""
    joined = replace(reading, words={k: list(v) for k, v in reading.words.items()})
    joined.here = set(reading.here)
    for one in earlier:
        for concept, words in one.words.items():
            said = joined.words.setdefault(concept, [])
            said += [word for word in words if word not in said][: MOST_ASIDES - len(said)]
        joined.here = joined.here | one.here
        joined.counted = [*joined.counted, *one.counted]
        joined.general = joined.general and one.general
        joined.trouble = joined.trouble or one.trouble
    return joined


def _found(
    every: Sequence[Said],
    plain: Sequence[Said],
    ready: Prepared,
    answers: Mapping[str, Answer],
    layers: Collection[str],
) -> list[Finding]:
    """Return the findings of all layers, most urgent first, without duplicate ids."""
    said = every[0]
    for concept, words in questions.concepts_answered(answers, "yes").items():
        said.reading.say(concept, words, ready)
    found = find(said.reading, ready, said.people)
    for name in RAISING:
        clear = any(finding.tier == "emergency" for finding in found)
        if name in layers and not (clear and name == "classifier"):
            read_for = [*every, *plain] if name == "values" else every
            found += [finding for one in read_for for finding in RAISING[name](one)]
    found += questions.answered(answers)
    found += _if_unsure(said, ready, answers)
    unique: dict[str, Finding] = {}
    for finding in sorted(found, key=lambda finding: -rank(finding.tier)):
        unique.setdefault(finding.id, finding)
    return list(unique.values())


def _if_unsure(said: Said, ready: Prepared, answers: Mapping[str, Answer]) -> list[Finding]:
    """Return findings as if each "not sure" were a "yes", with the tier ``today`` at most."""
    unsure = questions.concepts_answered(answers, "not sure")
    if not unsure:
        return []
    words = {concept: list(said) for concept, said in said.reading.words.items()}
    careful = Reading(words=words, here=set(said.reading.here))
    for concept, asked in unsure.items():
        careful.say(concept, asked, ready)
    found = find(careful, ready, said.people)
    return [replace(f, tier="today") if f.tier == "emergency" else f for f in found]


def _result(
    tier: Tier,
    found: Sequence[Finding],
    message: Reading,
    said: Said,
    ready: Prepared,
    answers: Mapping[str, Answer],
) -> Triage:
    asides = tuple(dict.fromkeys(said.reading.asides))[:MOST_ASIDES]
    asked_about = any(aside.why == "question" for aside in asides) or said.reading.general
    general = tier == "unknown" and asked_about
    asked: tuple[Question, ...] = ()
    if tier == "unknown" and not message.words and is_of_premises(message.sentences):
        general = True
    elif general:
        first = [questions.happening()]
        asked = tuple(one for one in first if one.id not in answers)
    else:
        asked = questions.to_ask(message, said.reading, ready, said.people, tier, answers)
        is_doubtful = said.reading.general or any(one.do.startswith(IF_NOW) for one in found)
        if is_doubtful and tier != "emergency" and questions.HAPPENING not in answers:
            asked = (questions.happening(), *asked)[: questions.MOST]
    notes: tuple[str, ...] = (
        () if tier != "unknown" else (GENERAL_NOTE,) if general else (UNKNOWN_NOTE,)
    )
    if foreign := languages.notice(said.text):
        notes = (foreign, *notes)
    final = not asked or rank(tier) >= rank("days")
    return Triage(
        tier, tuple(found), said.people, asides, notes, questions=asked, final=final,
        general=general,
    )  # fmt: skip
