"""Assembly of one answer as a sequence of events.

The order is: guards on the question, services that the program cannot provide, warnings from the
record, the answer (from the user's own documents, the handbook or MedQuAD) or why there is none,
signs to watch for, questions for an appointment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from galenic.assistant.answer.appointment import ASKING, general_questions, to_watch
from galenic.assistant.answer.choose import choose
from galenic.assistant.answer.limits import limit_of
from galenic.assistant.answer.pages import FoundSentence, of_own, of_pages
from galenic.assistant.answer.reading import (
    QuestionReading,
    follows_up,
    read_follow_up,
    read_question,
)
from galenic.assistant.answer.support import Wanted, wanted
from galenic.assistant.answer.unknown_medicines import names_medicine, unknown_medicines
from galenic.assistant.answer.write import write_answer
from galenic.assistant.events import Cited, Event, Note, Sentence, Sources
from galenic.assistant.guards.check import Guard, of_answer, of_question
from galenic.assistant.handbook.cite import cited_pages, cited_sources
from galenic.assistant.handbook.entry import Entry, Place
from galenic.assistant.handbook.interactions import warnings
from galenic.assistant.handbook.topics import topics
from galenic.assistant.triage.earlier import MOST_EARLIER
from galenic.assistant.triage.raising.languages import detect
from galenic.assistant.triage.triage import Triage
from galenic.assistant.triage.words.wording import word_set
from galenic.record.against import said_against
from galenic.record.person import Person
from galenic.retrieval.documents.medquad import MEDQUAD
from galenic.retrieval.query import STOP_WORDS, words
from galenic.retrieval.retrieve import Passage, Retriever
from galenic.runtimes.base import Runtime

if TYPE_CHECKING:
    from galenic.models.encoders.entailment import EntailmentModel

__all__ = ["DECLINED", "UNANSWERED", "Draft"]

LOOKED_AT = 8
"""Number of indexed passages that are retrieved for a question."""
NEAREST = 3
"""Maximum number of related titles that are named if there is no answer."""
MOST_WATCHED = 4
"""Maximum number of signs to watch for, from each entry and in total."""
MOST_ASKED = 5
"""Maximum number of questions for an appointment."""
LITTLE = 3
"""A follow-up with fewer than this number plus 3 content words, and no topic, is read together with
the message before it."""

UNANSWERED = "The sources here do not answer this."
ONLY_WARNED = "Beyond the warning above, the sources here say nothing on this."
IN_ENGLISH = (
    "The sources here are in English: please ask in English to be answered from them. What is said "
    "above on how soon help is needed holds. Else ask a pharmacist or a doctor."
)
NEAREST_ARE = " The nearest topics: {titles}."
UNKNOWN = " They say nothing about {names}."
WHO = (
    " Ask a pharmacist, who knows medicines best; for medicines that a specialist gave you, ask "
    "their team."
)
WHO_ELSE = " Ask your doctor, or the specialist who treats it."
DECLINED = (
    "This does not read like a question about health. Galenic answers health questions only, and "
    "cannot help with that."
)

WELCOME = "You are welcome. Ask again if something changes or new symptoms appear."
_THANKS = word_set("""
thanks thank thx ta cheers you so very much many a lot ok okay great good perfect lovely brilliant
that was helpful bye goodbye for your the help all
""")


@dataclass
class Draft:
    """The state of an answer while its events are generated.

    Attributes:
        text: the question, shortened if it is very long.
        history: the user's earlier messages, oldest first.
        person: the user's notes or health record.
        found: the triage result.
        rules: path of the triage rules; None for those of the package.
        retriever: the opened index; None if there is none.
        writer: model that writes the answer; None to show sentences of the sources verbatim.
        should_continue: polled during generation; once it returns False, generation stops.
        whole: the question before it was shortened, for warnings.
        judge: the user's model for entailment; None if there is none.
        model: name of the model that wrote; empty if none did.
        tokens: number of tokens that it generated.
        cited: passages cited so far; the position gives the citation number, from 1.
        hidden: guards that hid a sentence, by id.
        told: statements shown so far.
        declined: whether the question was declined as not about health.
        warned: whether a warning about things that do not go together was shown.
    """

    text: str
    history: tuple[str, ...]
    person: Person
    found: Triage
    rules: Path | None
    retriever: Retriever | None
    writer: Runtime | None
    should_continue: Callable[[], bool]
    whole: str = ""
    judge: EntailmentModel | None = None
    model: str = ""
    tokens: int = 0
    cited: list[Passage] = field(default_factory=list)
    hidden: dict[str, Guard] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    declined: bool = False
    warned: bool = False

    def events(self) -> Iterator[Event]:
        """Yield the events of the answer in the order in which they are displayed."""
        guard = of_question(self.text)
        if guard is not None:
            yield Note("guard", guard.note)
            if guard.ends:
                return
        if only_thanks(self.text):
            yield Note("note", WELCOME)
        else:
            yield from self._answered()

    def _answered(self) -> Iterator[Event]:
        """Yield the warnings, the answer or why there is none, and what to watch for and to ask."""
        reading = read_question(topics(), self.text)
        limit = limit_of(self.text)
        if limit:
            yield Note("note", limit.note)
        for_clinic = limit is not None and (limit.ends or not reading.matches)
        if for_clinic and self.retriever is None:
            return
        question = self._topic(reading)
        if not for_clinic:
            yield from self._warnings()
        if question != self.text:
            reading = read_follow_up(topics(), self.history[-1], self.text)
        size = 0 if self.retriever is None else self.retriever.size
        having = (lambda _: 0) if self.retriever is None else self.retriever.having
        want = wanted(question, having, size)
        indexed = [] if self.retriever is None else self.retriever.to_answer(question, LOOKED_AT)
        if self.retriever is not None and self.retriever.note:
            yield Note("note", self.retriever.note)
        if for_clinic:
            own = [one for one in indexed if one.collection != MEDQUAD]
            yield from self._shown(list(self._guarded(of_own(want, own))))
            return
        said = list(self._said(question, reading, want, indexed))
        if said:
            yield from self._shown(said)
        else:
            yield from self._unanswered(reading, indexed)
        for hidden in self.hidden.values():
            yield Note("guard", hidden.note)
        if not self.declined:
            yield from self._closing(reading)

    def _topic(self, alone: QuestionReading) -> str:
        """Return the text to search with: the question, after the previous message if it is short.

        Example: the follow-up "How long does it last?" is searched together with the question
        before it.
        """
        said = {word for word in words(self.text) if word not in STOP_WORDS}
        if self.history and follows_up(alone) and len(said) < LITTLE + 3:
            return f"{self.history[-1]}\n{self.text}"
        return self.text

    def _warnings(self) -> Iterator[Event]:
        """Yield warnings about interactions, and about recorded facts that concern the question."""
        for said in self.person.told():
            yield Note("note", said)
        notes = self.person.said[-MOST_EARLIER:]  # what triage reads of them, as its note says
        found = warnings(self.whole or self.text, notes, self.person.facts)
        for against in said_against(self.whole or self.text, self.person.facts):
            if not any(against.fact.name in warned.recorded for warned in found):
                passages = tuple(p for p in self.person.passages if against.fact.name in p.text)[:1]
                yield from self._new(passages)
                yield Sentence("warning", against.text, self._numbers(passages))
        for warned in found:
            self.warned = True
            passages = cited_sources(warned)
            yield from self._new(passages)
            yield Sentence("warning", warned.text, self._numbers(passages))

    def _said(
        self, question: str, reading: QuestionReading, want: Wanted, indexed: Sequence[Passage]
    ) -> Iterator[tuple[str, tuple[Passage, ...]]]:
        """Yield the sentences of the answer, each with the passages that support it.

        The user's own documents come first, then the handbook; MedQuAD is used only if neither
        answers.
        """
        own = [one for one in indexed if one.collection != MEDQUAD]
        found = of_own(want, [*self.person.passages, *own])
        if found:
            yield from self._guarded(found)
        unknown = unknown_medicines(self.text)
        chosen = [one for one in choose(reading) if _speaks_of(one.entry, unknown)]
        for one in chosen:
            if self._harmless(one.place.statement.text):
                yield one.place.statement.text, cited_pages(one.entry, one.place)
        if not chosen and not found:
            pages = [one for one in indexed if one.collection == MEDQUAD]
            yield from self._guarded(of_pages(question, reading.aspects, want, pages))

    def _guarded(self, found: Iterable[FoundSentence]) -> Iterator[tuple[str, tuple[Passage, ...]]]:
        """Yield the sentences that no guard hides, each with its passage."""
        for one in found:
            if self._harmless(one.text):
                yield one.text, (one.passage,)

    def _harmless(self, text: str) -> bool:
        """Check that no guard forbids a sentence; if one does, record it in ``hidden``."""
        guard = of_answer(text)
        if guard is not None:
            self.hidden[guard.id] = guard
        return guard is None

    def _shown(self, said: Sequence[tuple[str, tuple[Passage, ...]]]) -> Iterator[Event]:
        """Yield the answer: the sentences as they are, or what a model wrote and they entail.

        If too little of what the model wrote is entailed, the sentences are shown instead.
        """
        if self.writer is not None:
            written = write_answer(self.writer, self.text, said, self.should_continue, self.judge)
            self.model, self.tokens = self.writer.info.model, written.tokens
            if written.note:
                yield Note("note", written.note)
            said = written.said or said
        yield from self._new(passage for _, passages in said for passage in passages)
        for text, passages in said:
            self.told.add(text)
            yield Sentence("answer", text, self._numbers(passages))

    def _unanswered(self, reading: QuestionReading, indexed: Sequence[Passage]) -> Iterator[Event]:
        """Yield why there is no answer, whom to ask instead, and the titles of related topics."""
        if detect(self.text) is not None:
            yield Note("abstained", IN_ENGLISH)
            return
        takes = "take" in words(self.text) and any(one.medicine for one in reading.aspects)
        near = any(one.cover > 0.99 or one.score >= 2 for one in reading.near)
        medicine = any(one.medicine for one in reading.aspects) or names_medicine(self.text)
        health = (
            (near and not reading.foreign)
            or self.found.findings
            or takes
            or _speaks_of_health(self.text)
            or medicine
        )
        if not health:
            self.declined = True
            yield Note("abstained", DECLINED)
            return
        titles = [one.entry.title for one in reading.near if one.cover > 0.5]
        titles += [one.title for one in indexed if one.title not in titles]
        unknown = ", ".join(unknown_medicines(self.text))
        text = ONLY_WARNED if self.warned else UNANSWERED
        text += UNKNOWN.format(names=unknown) if unknown else ""
        text += WHO if takes or names_medicine(self.text) else WHO_ELSE
        if titles:
            text += NEAREST_ARE.format(titles="; ".join(titles[:NEAREST]))
        yield Note("abstained", text)
        if indexed:
            yield from self._new(indexed[:NEAREST])

    def _closing(self, reading: QuestionReading) -> Iterator[Event]:
        """Yield signs to watch for and questions to ask, from entries or triage rules."""
        entries = [one.entry for one in reading.matches]
        watched = [
            (entry, place)
            for entry in entries
            for place in _worse(entry)
            if place.statement.text not in self.told
        ][:MOST_WATCHED]
        yield from self._new(p for entry, place in watched for p in cited_pages(entry, place))
        for entry, place in watched:
            numbers = self._numbers(cited_pages(entry, place))
            yield Sentence("watch", place.statement.text, numbers)
        for text, source in to_watch(self.found, self.rules):
            if not watched or text.startswith("Call your emergency"):
                yield Sentence("watch", text, rule=source)
        asked = [text for entry in entries for text in entry.questions]
        for text in asked[:MOST_ASKED] or general_questions():
            yield Sentence("questions", text, rule=ASKING)

    def _new(self, passages: Iterable[Passage]) -> Iterator[Sources]:
        """Assign citation numbers to passages that have none, and yield them as an event."""
        new = [one for one in dict.fromkeys(passages) if one not in self.cited]
        if new:
            first = len(self.cited) + 1
            self.cited += new
            yield Sources(tuple(Cited(at, one) for at, one in enumerate(new, start=first)))

    def _numbers(self, passages: Sequence[Passage]) -> tuple[int, ...]:
        """Return the citation numbers of passages."""
        return tuple(1 + self.cited.index(one) for one in passages)


def _speaks_of(entry: Entry, names: Sequence[str]) -> bool:
    """Check whether an entry mentions each of these medicines."""
    said = " ".join(place.statement.text for place in entry.places()).lower() if names else ""
    return all(name in said for name in names)


def _worse(entry: Entry) -> list[Place]:
    """Return the statements of an entry on when help is needed at once or on the same day."""
    return [one for one in entry.places() if one.field in ("seek.emergency", "seek.today")][
        :MOST_WATCHED
    ]


_HEALTH = word_set("""
ferritin crp hba1c oximeter oxygen labour labor birth scan mri xray cholesterol vitamin pulse
swollen rash fever cough cold itchy bleeding levels count cells gland skin sleep diet weight
syndrome disease disorder symptom symptoms treatment medicine medicines medication drug drugs
effects dose pain ache doctor hospital illness ill sick health infection inherited blood cure
cured pregnant pregnancy baby surgery therapy vaccine allergy cancer test tablet
tablets capsule capsules injection injections inhaler inhalers jab ear ears eye eyes nose breast
breasts stoma catheter mammogram xray stitches wheelchair brain amoeba virus bacteria germs parasite
parasites
""")
"""Words that mark a question as one about health."""


def only_thanks(text: str) -> bool:
    """Check whether a message only says thank you, as "thanks, bye!" does."""
    said = set(words(text))
    return bool(said & {"thanks", "thank", "thx", "cheers"}) and said <= _THANKS


def _speaks_of_health(question: str) -> bool:
    """Check whether a question contains a word of `_HEALTH`."""
    return bool(_HEALTH & set(words(question)))
