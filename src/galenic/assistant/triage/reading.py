"""Extract from a text the concepts that count, those that do not and why, ages and populations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from galenic.assistant.triage.framing import FIGURE, asides_of, is_claimed, speaks_of_trouble
from galenic.assistant.triage.result import Aside
from galenic.assistant.triage.rules import MASK, Population, Prepared
from galenic.assistant.triage.scope import Scope, Status, undoubled
from galenic.assistant.triage.words.people import ages_in_months
from galenic.assistant.triage.words.phrase import Mention
from galenic.assistant.triage.words.shorthand import written_out
from galenic.assistant.triage.words.wording import TokenSentence, sentences, word_set

__all__ = ["Reading", "populations", "read"]

MOST_ASIDES = 20
FEWEST_LEFT = 4
"""Minimum number of content words that must remain of a sentence, after disregarded mentions are
removed, for the classifier to read it."""
_DENIALS = word_set("no not never denies denied without neither nor none or nil")
_LEAD = word_set(
    "i im ive a an the any of in my no not never dont doesnt didnt have had has been do"
)
_SMALL = word_set(
    "i im ive me my a an the he she his her hes shes it its is are was were be been has have had "
    "do does did dont doesnt didnt and but of in on at to any with for that this there so not no "
    "also sure signs history otherwise well"
)


@dataclass
class Reading:
    """What was extracted from a text.

    Attributes:
        words: For each concept that counts, the phrases that express it in the text.
        here: Concepts of ``words`` that have not passed yet.
        denied: Concepts that the text says are absent.
        asides: Mentions that do not count, and why.
        months: Ages in months.
        sentences: The sentences as tokens.
        counted: The sentences as text, without mentions that are denied, past, about relatives or
            only asked about; input of the classifier.
        general: Whether no sentence describes anybody who is ill now.
        trouble: Whether the text speaks of somebody's trouble now, or is too short to tell.
    """

    words: dict[str, list[str]] = field(default_factory=dict)
    here: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    asides: list[Aside] = field(default_factory=list)
    months: list[float] = field(default_factory=list)
    sentences: list[TokenSentence] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)
    general: bool = False
    trouble: bool = True

    def say(self, concept: str, words: str, ready: Prepared, *, here: bool = True) -> None:
        """Add a concept, and those that include it, on the evidence of a phrase."""
        for name in ready.families.get(concept, ()):
            said = self.words.setdefault(name, [])
            if words not in said and len(said) < MOST_ASIDES:
                said.append(words)
            if here:
                self.here.add(name)


def read(text: str, ready: Prepared, *, happening: bool = False) -> Reading:
    """Extract concepts, ages and disregarded mentions from a text.

    "Bad headache since noon, no fever" gives the concept for the headache in ``words`` and the one
    for fever in ``denied``.

    Args:
        text: The text, of any length; run time is linear in its length.
        ready: The compiled rules.
        happening: Whether symptoms that are only asked about count as well.
    """
    text = written_out(text)
    reading = Reading(sentences=[_mend(sentence, ready) for sentence in sentences(text)])
    happening = happening or is_claimed(reading.sentences)
    reading.trouble = happening or speaks_of_trouble(reading.sentences)
    marks = [ready.context.find(sentence.tokens) for sentence in reading.sentences]
    parts = {mark.concept for found in marks for mark in found}
    every = [_mentions(one.tokens, ready) for one in reading.sentences]
    found = [_unmasked(one) for one in every]
    masks = [{p for m in one if m.concept == MASK for p in range(m.start, m.end)} for one in every]
    named = [{m.start for m in one if m.concept not in ready.quiet} for one in found]
    frames = asides_of(text, reading.sentences, named, [bool(one) for one in found])
    reading.general = bool(frames) and all(frame is not None for frame in frames) and not happening
    for sentence, context, mentions, mask, frame in zip(
        reading.sentences, marks, found, masks, frames, strict=True
    ):
        scope = Scope(
            sentence, context, mentions, about_risk="risk" in parts, recurs="recurs" in parts
        )
        left_out = _note_mentions(
            sentence, scope, mentions, ready, reading, frame, happening=happening
        )
        kept = _without(sentence, left_out | mask, frame, happening=happening)
        reading.counted += [kept] if kept else []
        for at, months in ages_in_months(sentence.tokens):
            if scope.status(Mention("age", at, at + 1)) != "family" and not scope.is_in("past", at):
                reading.months.append(months)
    return reading


def populations(known: dict[str, Population], *readings: Reading) -> list[str]:
    """Return the names of the population groups that any of the readings belongs to."""
    return [
        name
        for name, population in known.items()
        if any(_belongs(population, reading) for reading in readings)
    ]


def _mentions(tokens: Sequence[str], ready: Prepared) -> list[Mention]:
    """Find the mentions of concepts, including those under a double negation."""
    mentions = ready.symptoms.find(tokens)
    plain = undoubled(tokens)
    if plain is not None:
        mentions += [one for one in ready.symptoms.find(plain) if one not in mentions]
    return mentions


def _unmasked(mentions: Sequence[Mention]) -> list[Mention]:
    """Drop mentions inside a masked phrase, such as "fever" in "hay fever"."""
    covered = {p: m for m in mentions if m.concept == MASK for p in range(m.start, m.end)}
    kept = []
    for mention in mentions:
        mask = covered.get(mention.start)
        inside = mask is not None and mention.end <= mask.end
        if not inside or (mask and mention[1:] == mask[1:] and mention.concept != MASK):
            kept.append(mention)
    return kept


def _mend(sentence: TokenSentence, ready: Prepared) -> TokenSentence:
    tokens = [ready.speller.mend(token) for token in sentence.tokens]
    for at, (token, follows) in enumerate(pairwise(tokens)):
        if follows in ready.rules.compounds.get(token, ()):
            tokens[at] = token + "x"
    return replace(sentence, tokens=tuple(tokens))


def _note_mentions(
    sentence: TokenSentence,
    scope: Scope,
    mentions: Iterable[Mention],
    ready: Prepared,
    reading: Reading,
    frame: Status | None,
    *,
    happening: bool,
) -> set[int]:
    """Add the mentions of a sentence to a reading; return the tokens of disregarded ones."""
    left_out: set[int] = set()
    for mention in mentions:
        words = " ".join(sentence.shown[mention.start : mention.end])
        status = scope.status(mention)
        if status == "counts" and frame is not None:
            status = frame
        if status == "past" and ready.rules.concepts[mention.concept].lasting:
            status = "counts"
        if status == "question" and happening:
            status = "counts"
        if status != "counts" and mention.concept in ready.quiet:
            continue
        if status == "counts":
            reading.say(mention.concept, words, ready, here=not scope.is_gone(mention))
            continue
        reading.asides.append(Aside(words, status))
        left_out.update(range(mention.start, mention.end))
        if status == "denied":
            reading.denied.add(mention.concept)
    return left_out


def _without(
    sentence: TokenSentence, left_out: set[int], frame: Status | None, *, happening: bool
) -> str:
    """Return the text of a sentence without what does not count; empty if too little is left."""
    if frame is not None and not happening:
        return ""
    if not left_out and sentence.written:
        return sentence.written.replace(FIGURE, "")
    left_out = _with_lead(sentence.shown, left_out)
    kept = [
        word
        for at, word in enumerate(sentence.shown)
        if at not in left_out and not (left_out and word in _DENIALS) and word != FIGURE
    ]
    if left_out and len([word for word in kept if word not in _SMALL]) < FEWEST_LEFT:
        return ""
    return " ".join(kept) + ("?" if sentence.asks else ".")


def _with_lead(shown: Sequence[str], left_out: set[int]) -> set[int]:
    """Add to the tokens that are left out the function words directly before them."""
    wider = set(left_out)
    for at in sorted(left_out):
        before = at - 1
        while before >= 0 and before not in wider and shown[before] in _LEAD:
            wider.add(before)
            before -= 1
    return wider


def _belongs(population: Population, reading: Reading) -> bool:
    if any(concept in reading.words for concept in population.concepts):
        return True
    young, old = population.under_months, population.from_years
    return any(
        (young is not None and months < young) or (old is not None and months >= 12 * old)
        for months in reading.months
    )
