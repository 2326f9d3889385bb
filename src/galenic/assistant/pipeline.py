"""The question answering pipeline: triage, safety guards, warnings, retrieval, sentences.

Decisions are made by readable code: rules determine how urgently help is needed before anything
else, and guards check both the question and every sentence of the answer. A language model writes
only if the user asked for it, and only sentences that the sources entail are shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from galenic.assistant import DEFAULT_MODEL
from galenic.assistant.answer.draft import Draft
from galenic.assistant.events import Cited, Done, Event, Note, Sentence, Sources, Tier
from galenic.assistant.guards.check import of_question
from galenic.assistant.model import judge_if, runtime_if
from galenic.assistant.triage.opinion import with_opinion
from galenic.assistant.triage.tiers import rank
from galenic.assistant.triage.triage import Answer, Triage, raise_to, triage
from galenic.errors import UserError, unknown_name
from galenic.home import index_path
from galenic.record.person import Person, read_person
from galenic.retrieval.retrieve import Retriever, open_retriever
from galenic.runtimes.base import Runtime

if TYPE_CHECKING:
    from galenic.models.encoders.entailment import EntailmentModel

__all__ = ["STYLES", "Assistant", "Reply", "UserQuestion", "ask", "collect", "make_question"]

STYLES = ("extractive", "written")
MOST_SEARCHED = 4_000
"""Maximum characters of a message that are used to search for an answer; triage reads all of it."""
MOST_WARNED = 100_000
"""Maximum characters of a message that are searched for medicine interactions."""
CAREFUL = (
    "This can be a question about harming oneself. If it is, speak to a crisis line, a doctor or "
    "somebody you trust today."
)
SHORTENED = (
    "Your message is long: how soon help is needed was judged by all of it, but the answer was "
    "searched with its first and its last {part:,} characters only."
)


@dataclass(frozen=True)
class UserQuestion:
    """A user's question with its context.

    Attributes:
        text: the question in the user's own words.
        history: the user's earlier messages in this conversation, oldest first.
        person: the user's notes or health record.
        answers: answers to follow-up questions of triage, by question id.
    """

    text: str
    history: tuple[str, ...] = ()
    person: Person = field(default_factory=Person)
    answers: Mapping[str, Answer] = field(default_factory=dict)


def make_question(
    text: str,
    history: Sequence[str] = (),
    context: str = "",
    answers: Mapping[str, Answer] | None = None,
) -> UserQuestion:
    """Validate user input and return it as a `UserQuestion`.

    Args:
        text: the question in the user's own words.
        history: the user's earlier messages in this conversation, oldest first.
        context: the user's notes as plain text, or a health record as FHIR JSON; empty for none.
        answers: answers to follow-up questions of triage, by question id.

    Raises:
        UserError: the question is empty, or the context is JSON but not a health record.
    """
    if not text.strip():
        raise UserError("there is no question. Say what is wrong, in your own words.")
    return UserQuestion(text, tuple(history), read_person(context), dict(answers or {}))


@dataclass(frozen=True)
class Reply:
    """A complete answer, collected from its events.

    Attributes:
        triage: how urgently help is needed.
        sources: cited passages, in the order of their numbers.
        sentences: sentences in the order in which they are displayed.
        notes: messages of the safety guards, reasons for giving no answer, and other remarks.
        model: name of the model that wrote the answer; empty if no model was used.
        seconds: time taken to answer, after triage and without loading the model.
    """

    triage: Triage
    sources: tuple[Cited, ...]
    sentences: tuple[Sentence, ...]
    notes: tuple[Note, ...]
    model: str
    seconds: float


@dataclass(frozen=True)
class Assistant:
    """A question answering system with fixed settings.

    Attributes:
        runtime: the loaded language model; None uses no model.
        style: ``extractive`` shows sentences of the sources verbatim; ``written`` lets the model
            rephrase them and shows only what they entail.
        index: path of the passage index; by default the user's own. Without an index file, answers
            come from the embedded handbook alone.
        rules: path of the triage rules; by default those of the package.
        second_opinion: also ask the model whether help is needed sooner. It can raise the tier but
            not lower it; see `galenic.assistant.triage.opinion`.
        judge: a model that also checks what is written for entailment; see `write_answer`.

    Raises:
        UserError: there is no such style.
    """

    runtime: Runtime | None = None
    style: str = "extractive"
    index: Path | None = None
    rules: Path | None = None
    second_opinion: bool = False
    judge: EntailmentModel | None = None

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise unknown_name("style", self.style, STYLES)

    def ask(
        self, asked: UserQuestion, should_continue: Callable[[], bool] = lambda: True
    ) -> Iterator[Event]:
        """Yield all events of an answer: the triage result first, `Done` last.

        Args:
            asked: the question, from `make_question`.
            should_continue: polled during generation; once it returns False, generation stops.
        """
        found = self.triage(asked)
        yield Tier(found)
        yield from self.answer(asked, found, should_continue)

    def triage(self, asked: UserQuestion) -> Triage:
        """Return how urgently help is needed, given the message, history, record and answers.

        Earlier messages count, so the tier cannot fall during a conversation. A question that is
        not answered because it asks for a way of harming oneself is for today at least.
        """
        found = triage(
            asked.text,
            self.rules,
            facts=asked.person.facts,
            history=[one for one in (asked.person.said, *asked.history) if one.strip()],
            answers=asked.answers,
        )
        if rank(found.tier) >= rank("today"):
            return found
        guard = of_question(shortened(asked.text))
        return raise_to(found, "today", CAREFUL) if guard and guard.id == "self-harm" else found

    def answer(
        self, asked: UserQuestion, found: Triage, should_continue: Callable[[], bool] = lambda: True
    ) -> Iterator[Event]:
        """Yield all events after the first `Tier`; for an emergency, only `Done`.

        If the model raises the tier (``second_opinion``), a second `Tier` event is yielded.

        Args:
            asked: the question, from `make_question`.
            found: its triage result, from `triage`.
            should_continue: polled during generation; once it returns False, generation stops.
        """
        begun = time.monotonic()
        model, tokens = "", 0
        if self.second_opinion and self.runtime is not None and found.tier != "emergency":
            raised = with_opinion(self.runtime, asked.text, found)
            if raised != found:
                found = raised
                yield Tier(found)
        if found.tier != "emergency":
            text = shortened(asked.text)
            if text != asked.text:
                yield Note("note", SHORTENED.format(part=MOST_SEARCHED // 2))
            with self._retriever() as retriever:
                writer = self.runtime if self.style == "written" else None
                draft = Draft(
                    text, tuple(map(shortened, asked.history)), asked.person, found, self.rules,
                    retriever, writer, should_continue, whole=asked.text[:MOST_WARNED],
                    judge=self.judge,
                )  # fmt: skip
                yield from draft.events()
            model, tokens = draft.model, draft.tokens
        yield Done(time.monotonic() - begun, model, tokens)

    def _retriever(self) -> AbstractContextManager[Retriever | None]:
        """Open the index for searching; None if there is no index file."""
        path = self.index or index_path()
        return open_retriever(path) if path.is_file() else nullcontext()


def shortened(text: str) -> str:
    """Return the beginning and end of an overlong text, cut between words.

    A text of at most `MOST_SEARCHED` characters is returned unchanged; otherwise half of that many
    are kept at each end, separated by an empty line.
    """
    if len(text) <= MOST_SEARCHED:
        return text
    part = MOST_SEARCHED // 2
    begin, end = text[:part].rsplit(None, 1)[0], text[-part:].split(None, 1)[-1]
    return f"{begin}\n\n{end}"


def collect(found: Triage, events: Iterator[Event]) -> Reply:
    """Collect the events of an answer into a `Reply`.

    Args:
        found: the triage result; replaced if the events contain another one.
        events: the events, from `Assistant.answer`.
    """
    sources: list[Cited] = []
    sentences: list[Sentence] = []
    notes: list[Note] = []
    model, seconds = "", 0.0
    for event in events:
        match event:
            case Sources():
                sources += event.sources
            case Sentence():
                sentences.append(event)
            case Note():
                notes.append(event)
            case Done():
                model, seconds = event.model, event.seconds
            case Tier():
                found = event.triage
    return Reply(found, tuple(sources), tuple(sentences), tuple(notes), model, seconds)


def ask(
    question: str,
    *,
    context: str = "",
    history: Sequence[str] = (),
    model: str = DEFAULT_MODEL,
    style: str = "extractive",
    index: Path | None = None,
    entailment_model: str | None = None,
) -> Reply:
    """Answer one question; the model is loaded only if it has to write.

    Args:
        question: the question in the user's own words.
        context: the user's notes as plain text, or a health record as FHIR JSON; empty for none.
        history: the user's earlier messages in this conversation, oldest first.
        model: model name as for `load_runtime`.
        style: ``extractive`` or ``written``, see `Assistant`.
        index: path of the passage index; by default the user's own.
        entailment_model: folder of a model that also checks what is written; see `write_answer`.

    Raises:
        UserError: the question is empty, the context is not a valid health record, or the model or
            index cannot be used.
    """
    asked = make_question(question, history, context)
    found = Assistant(None, style, index).triage(asked)
    writes = style == "written" and found.tier != "emergency"
    judge = judge_if(writes, entailment_model, style)
    with runtime_if(writes, model if writes else DEFAULT_MODEL) as runtime:
        assistant = Assistant(runtime, style, index, judge=judge)
        return collect(found, assistant.answer(asked, found))
