"""From a question to an answer, in one flow: triage, guards, warnings, the page, its words.

What decides is code that can be read: rules say how soon help is needed before anything else,
guards look at question and answer, and a model writes only where it was asked to, and only what its
sources entail.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from galenic.assistant import DEFAULT_MODEL
from galenic.assistant.answer.draft import Draft
from galenic.assistant.events import Cited, Done, Event, Note, Sentence, Sources, Tier
from galenic.assistant.model import load_runtime
from galenic.assistant.triage.opinion import with_opinion
from galenic.assistant.triage.triage import Answer, Triage, triage
from galenic.errors import UserError, unknown_name
from galenic.home import index_path
from galenic.record.person import Person, read_person
from galenic.retrieval.retrieve import Retriever, open_retriever
from galenic.runtimes.base import Runtime

__all__ = ["STYLES", "Assistant", "Reply", "UserQuestion", "ask", "collect", "make_question"]

STYLES = ("extractive", "written")
MOST_SEARCHED = 4_000
"""Characters of a message that an answer is searched with; triage reads all of it."""
MOST_WARNED = 100_000
"""Characters of a message in which medicines are looked for that do not go together."""
SHORTENED = (
    "Your message is long: how soon help is needed was judged by all of it, but the answer was "
    "searched with its first and its last {part:,} characters only."
)


@dataclass(frozen=True)
class UserQuestion:
    """What a person asks.

    Attributes:
        text: in their own words.
        history: what they said before in this conversation, oldest first.
        person: notes or a health record.
        answers: to questions that triage asked, by their ids.
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
    """Check what was asked.

    Raises:
        UserError: nothing is asked, or the context is JSON but no health record.
    """
    if not text.strip():
        raise UserError("there is no question. Say what is wrong, in your own words.")
    return UserQuestion(text, tuple(history), read_person(context), dict(answers or {}))


@dataclass(frozen=True)
class Reply:
    """A whole answer.

    Attributes:
        triage: how soon help is needed.
        sources: passages by number.
        sentences: in the order in which they are shown.
        notes: guards, abstention and others.
        model: that wrote; empty when none ran.
        seconds: it took.
    """

    triage: Triage
    sources: tuple[Cited, ...]
    sentences: tuple[Sentence, ...]
    notes: tuple[Note, ...]
    model: str
    seconds: float


@dataclass(frozen=True)
class Assistant:
    """Answers questions.

    Attributes:
        runtime: of the model; None lets no model take part.
        style: ``extractive`` shows sentences of the sources as they are; ``written`` lets the
            model write what they entail.
        index: of passages; None = the user's own. Without one the embedded handbook answers.
        rules: of triage; None = the shipped ones.
        second_opinion: lets the model raise the tier; see `galenic.assistant.triage.opinion`.
    """

    runtime: Runtime | None = None
    style: str = "extractive"
    index: Path | None = None
    rules: Path | None = None
    second_opinion: bool = False

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise unknown_name("style", self.style, STYLES)

    def ask(
        self, asked: UserQuestion, should_continue: Callable[[], bool] = lambda: True
    ) -> Iterator[Event]:
        """All events of an answer: the tier first, the end last."""
        found = self.triage(asked)
        yield Tier(found)
        yield from self.answer(asked, found, should_continue)

    def triage(self, asked: UserQuestion) -> Triage:
        """How soon help is needed, by all that was said so far: never less than before."""
        return triage(
            asked.text,
            self.rules,
            facts=asked.person.facts,
            history=[one for one in (asked.person.said, *asked.history) if one.strip()],
            answers=asked.answers,
        )

    def answer(
        self, asked: UserQuestion, found: Triage, should_continue: Callable[[], bool] = lambda: True
    ) -> Iterator[Event]:
        """All events behind `Tier`; of an emergency there is only the end.

        Where the model raises the tier, `Tier` comes once more.

        Args:
            asked: by `make_question`.
            found: by `triage`.
            should_continue: asked now and then; where it says no, the answer ends there.
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
                )  # fmt: skip
                yield from draft.events()
            model, tokens = draft.model, draft.tokens
        yield Done(time.monotonic() - begun, model, tokens)

    def _retriever(self) -> AbstractContextManager[Retriever | None]:
        path = self.index or index_path()
        return open_retriever(path) if path.is_file() else nullcontext()


def shortened(text: str) -> str:
    """The beginning and the end of a long text, in whole words."""
    if len(text) <= MOST_SEARCHED:
        return text
    part = MOST_SEARCHED // 2
    begin, end = text[:part].rsplit(None, 1)[0], text[-part:].split(None, 1)[-1]
    return f"{begin}\n\n{end}"


def collect(found: Triage, events: Iterator[Event]) -> Reply:
    """Put the events of an answer together."""
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
) -> Reply:
    """Answer one question; a model is loaded only when it is to write.

    Raises:
        UserError: as `make_question`, or the model or the index cannot be used.
    """
    asked = make_question(question, history, context)
    plain = Assistant(None, style, index)
    found = plain.triage(asked)
    if style == "extractive" or found.tier == "emergency":
        return collect(found, plain.answer(asked, found))
    with load_runtime(model) as runtime:
        return collect(found, Assistant(runtime, style, index).answer(asked, found))
