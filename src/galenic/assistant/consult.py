"""From a question to an answer: triage first, then passages, then sentences that name them.

What decides is code that can be read: rules say how soon help is needed before any model runs,
guards look at question and answer, and a model orders or writes only between them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from galenic.assistant import DEFAULT_MODEL
from galenic.assistant.answer.appointment import ASKING, to_ask, to_watch
from galenic.assistant.answer.extract import choose
from galenic.assistant.answer.order import order, undecided
from galenic.assistant.answer.support import Wanted, stems, wanted
from galenic.assistant.answer.write import write_answer
from galenic.assistant.events import Cited, Done, Event, Note, Sentence, Sources, Tier
from galenic.assistant.folder import index_path
from galenic.assistant.model import load_runtime
from galenic.assistant.record.person import Person, read_person
from galenic.assistant.search.retrieve import Passage, Retriever, open_retriever
from galenic.assistant.triage.guards import of_answer, of_question
from galenic.assistant.triage.opinion import with_opinion
from galenic.assistant.triage.triage import Triage, triage
from galenic.errors import UserError, unknown_name
from galenic.runtimes.base import Runtime

__all__ = ["STYLES", "Assistant", "Question", "Reply", "ask", "collect", "make_question"]

STYLES = ("auto", "extractive", "written")
WRITES_FROM = 1_000_000_000
"""Parameters from which a model writes by itself; a smaller one only orders what sources say."""
LOOKED_AT = 8
"""Passages that are found for a question."""
OWN_LOOKED_AT = 2
"""Passages of the person's own."""
NEAREST = LOOKED_AT + OWN_LOOKED_AT
"""Passages that are listed where there is no answer."""
LEAST_SUPPORT = 0.6
"""Share of a question, by weight of its words, that one passage must have for an answer."""
LEAST_SOURCED = 0.5
"""Share of a written answer's sentences that passages must carry for it to be shown."""
MOST_CHARACTERS = 20_000
"""Of a question."""
LITTLE = 4
"""A question with fewer words that count is looked up together with the one before."""

NO_INDEX = (
    "Nothing is indexed yet, so there is nothing to found an answer on. `galenic index medquad "
    "--data DIR` takes in answers of the US National Institutes of Health, `galenic index FOLDER` "
    "documents of your own."
)
ABSTAINED = (
    "No passage answers this well enough to build an answer on. The nearest ones are listed."
)
UNSOURCED = (
    "What the model wrote was not carried by the passages, so it is not shown. They are listed."
)


@dataclass(frozen=True)
class Question:
    """What a person asks.

    Attributes:
        text: in their own words.
        history: what they said before in this conversation, oldest first.
        person: notes or a health record.
    """

    text: str
    history: tuple[str, ...] = ()
    person: Person = field(default_factory=Person)


def make_question(text: str, history: Sequence[str] = (), context: str = "") -> Question:
    """Check what was asked.

    Raises:
        UserError: nothing is asked, it is too long, or the context is JSON but no health record.
    """
    if not text.strip():
        raise UserError("there is no question. Say what is wrong, in your own words.")
    if len(text) > MOST_CHARACTERS:
        raise UserError(
            f"the question has {len(text):,} characters; at most {MOST_CHARACTERS:,} are taken. "
            "Say it in fewer words, and give the rest as context."
        )
    return Question(text, tuple(history), read_person(context))


@dataclass(frozen=True)
class Reply:
    """A whole answer.

    Attributes:
        triage: how soon help is needed.
        sources: passages by number.
        sentences: in the order in which they are shown.
        notes: guards, abstention and others.
        model: that ordered or wrote; empty when none ran.
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
        style: ``extractive`` shows sentences of passages in the order that the model chooses,
            ``written`` lets it write; ``auto`` by its size.
        index: of passages; None = the user's own.
        rules: of triage; None = the reviewed ones.
        second_opinion: lets the model raise the tier; see `galenic.assistant.triage.opinion`.
    """

    runtime: Runtime | None = None
    style: str = "auto"
    index: Path | None = None
    rules: Path | None = None
    second_opinion: bool = False

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise unknown_name("style", self.style, STYLES)

    def triage(self, asked: Question) -> Triage:
        """How soon help is needed, by all that was said so far: never less than before."""
        said = "\n\n".join((*asked.history, asked.text, asked.person.said))
        return triage(said, self.rules, about=asked.person.about)

    def answer(
        self, asked: Question, found: Triage, going_on: Callable[[], bool] = lambda: True
    ) -> Iterator[Event]:
        """All events behind `Tier`; of an emergency there is only the end.

        Where the model raises the tier, `Tier` comes once more.

        Args:
            asked: by `make_question`.
            found: by `triage`.
            going_on: asked now and then; where it says no, the answer ends there.
        """
        begun = time.monotonic()
        if self.second_opinion and self.runtime is not None and found.tier != "emergency":
            raised = with_opinion(self.runtime, asked.text, found)
            if raised != found:
                found = raised
                yield Tier(found)
        answer = _Answer(self, asked, found, going_on)
        if found.tier != "emergency":
            path = self.index or index_path()
            guard = of_question(asked.text)
            if guard is not None:
                yield Note("guard", guard.note)
            with open_retriever(path) if path.is_file() else nullcontext() as retriever:
                yield from answer.events(retriever)
        yield Done(time.monotonic() - begun, answer.model, answer.tokens)


@dataclass
class _Answer:
    """One answer in the making."""

    assistant: Assistant
    asked: Question
    found: Triage
    going_on: Callable[[], bool]
    model: str = ""
    tokens: int = 0
    cited: list[Passage] = field(default_factory=list)

    def events(self, retriever: Retriever | None) -> Iterator[Event]:
        question = self._topic()
        size = 0 if retriever is None else retriever.size
        want = wanted(question, (lambda _: 0) if retriever is None else retriever.having, size)
        passages = self._passages(want, question, retriever)
        if retriever is None:
            yield Note("note", NO_INDEX)
        elif retriever.note:
            yield Note("note", retriever.note)
        answered = _support(want, passages) >= LEAST_SUPPORT
        if answered:
            writer = self._writer
            yield from (
                self._chosen(want, passages) if writer is None else self._written(writer, passages)
            )
        elif passages:
            yield Note("abstained", ABSTAINED)
            yield self._cite(passages[:NEAREST])
        for text, source in to_watch(self.found, self.assistant.rules):
            yield Sentence("watch", text, rule=source)
        yield from self._questions(retriever, self._title(want) if answered else "")

    @property
    def _writer(self) -> Runtime | None:
        """The model, if it is to write by itself."""
        runtime, style = self.assistant.runtime, self.assistant.style
        if runtime is None or style == "extractive":
            return None
        large = runtime.info.num_parameters >= WRITES_FROM
        return runtime if style == "written" or large else None

    def _topic(self) -> str:
        """What to look for: the question, and the one before when it says little by itself."""
        text = self.asked.text
        if self.asked.history and len(wanted(text, lambda _: 0, 1).weights) < LITTLE:
            return f"{self.asked.history[-1]}\n{text}"
        return text

    def _title(self, want: Wanted) -> str:
        """What the answer is about: the title that most of it stands under, if it was asked for."""
        titles = Counter(one.title for one in self.cited if one.url)
        asked = [title for title, _ in titles.most_common() if want.found(stems(title))]
        return asked[0] if asked else ""

    def _passages(self, want: Wanted, question: str, retriever: Retriever | None) -> list[Passage]:
        """The person's own ones that have something of the question, then what is indexed."""
        own = [one for one in self.asked.person.passages if want.share([stems(one.text)])]
        own.sort(key=lambda one: -want.share([stems(one.text)]))
        found = [] if retriever is None else retriever.to_answer(question, LOOKED_AT)
        return own[:OWN_LOOKED_AT] + found

    def _chosen(self, want: Wanted, passages: Sequence[Passage]) -> Iterator[Event]:
        """Sentences of passages as they are; the model orders those that words hold for equal."""
        chosen = choose(want, self._topic(), passages)
        runtime = self.assistant.runtime
        if runtime is not None and len(near := undecided(chosen)) > 1 and self.going_on():
            chosen = order(runtime, self.asked.text, chosen, near)
            self.model = runtime.info.model
        notes = {}
        kept = []
        for one in chosen:
            guard = of_answer(one.text)
            if guard is None:
                kept.append(one)
            else:
                notes[guard.id] = guard.note
        yield self._cite([passages[at] for at in dict.fromkeys(one.passage for one in kept)])
        for one in kept:
            yield Sentence("answer", one.text, (self._number(passages[one.passage]),))
        for note in notes.values():
            yield Note("guard", note)

    def _written(self, runtime: Runtime, passages: Sequence[Passage]) -> Iterator[Event]:
        """What the model writes, held back until it is known how much of it has a source."""
        self.model = runtime.info.model
        stream = write_answer(runtime, self.asked.text, passages, self.going_on)
        sentences = []
        while True:
            try:
                sentences.append(next(stream))
            except StopIteration as done:
                self.tokens = done.value.num_tokens
                break
        guards = [of_answer(one.text) for one in sentences]
        kept = [one for one, guard in zip(sentences, guards, strict=True) if guard is None]
        sourced = sum(bool(one.passages) for one in kept)
        if not kept or sourced < LEAST_SOURCED * len(kept):
            yield Note("abstained", UNSOURCED)
            yield self._cite(passages[:NEAREST])
        else:
            used = sorted({at for one in kept for at in one.passages})
            yield self._cite([passages[at] for at in used])
            for one in kept:
                numbers = tuple(self._number(passages[at]) for at in one.passages)
                yield Sentence("answer", one.text, numbers)
        for note in {guard.id: guard.note for guard in guards if guard is not None}.values():
            yield Note("guard", note)

    def _questions(self, retriever: Retriever | None, topic: str) -> Iterator[Event]:
        asking = to_ask(retriever, topic)
        found = [one.passage for one in asking if one.passage is not None]
        new = [one for one in found if one not in self.cited]
        if new:
            yield self._cite(list(dict.fromkeys(new)))
        for one in asking:
            numbers = () if one.passage is None else (self._number(one.passage),)
            yield Sentence("questions", one.text, numbers, rule=None if numbers else ASKING)

    def _cite(self, passages: Sequence[Passage]) -> Sources:
        """Give passages the next numbers."""
        before = len(self.cited)
        self.cited += passages
        numbered = enumerate(passages, start=before + 1)
        return Sources(tuple(Cited(number, passage) for number, passage in numbered))

    def _number(self, passage: Passage) -> int:
        return 1 + self.cited.index(passage)


def _support(want: Wanted, passages: Sequence[Passage]) -> float:
    """Share of the question that the best passage has."""
    texts = [stems(f"{one.title} {one.question} {one.text}") for one in passages]
    return max((want.share([text]) for text in texts), default=0.0)


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
    style: str = "auto",
    index: Path | None = None,
) -> Reply:
    """Answer one question; the model is loaded only when it has something to do.

    Raises:
        UserError: as `make_question`, or the model or the index cannot be used.
    """
    asked = make_question(question, history, context)
    found = Assistant(index=index).triage(asked)
    if found.tier == "emergency":
        return collect(found, Assistant(index=index).answer(asked, found))
    with load_runtime(model) as runtime:
        assistant = Assistant(runtime, style, index)
        return collect(found, assistant.answer(asked, found))
