"""``galenic chat``: a conversation on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galenic.assistant import DEFAULT_MODEL
from galenic.cli.ask.answer import ContextFlag, JudgeFlag, ModelFlag, OpinionFlag, StyleFlag
from galenic.cli.ask.ask import read_context

if TYPE_CHECKING:
    from rich.console import Console

    from galenic.assistant.events import Cited, Event
    from galenic.assistant.history import History
    from galenic.assistant.triage.triage import Answer
    from galenic.runtimes.base import Runtime

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = """Ask health questions in a conversation.

The urgency takes everything said so far into account and never falls during a conversation.

In a terminal a few questions are asked first. `/source 2` shows a passage, `/clear` forgets the
conversation, `quit`, `bye` or Ctrl-D ends it; Ctrl-C stops questions and answers. Nothing is stored
without `--history`. This is no diagnosis and no medical advice.
"""
EXAMPLES = """
**Examples**

`galenic chat`

`galenic chat --context record.json` with a health record (FHIR R4) or notes

`galenic chat --history` continues the saved conversation; `galenic purge` deletes it
"""
PROMPT = "\nYou: "
WELCOME = "Say what is wrong, or ask. To leave type quit or bye (or Ctrl-D); /clear forgets it all."
LEAVE = ("quit", "exit", "bye", "/quit", "/exit", "/bye")


def command(
    context: ContextFlag = None,
    model: ModelFlag = DEFAULT_MODEL,
    style: StyleFlag = "extractive",
    second_opinion: OpinionFlag = False,
    history: Annotated[
        bool,
        typer.Option("--history", help="Save the conversation in a file that only you can read."),
    ] = False,
    entailment_model: JudgeFlag = None,
) -> None:
    """Talk."""
    from galenic.assistant.history import History, history_path
    from galenic.assistant.model import judge_if
    from galenic.assistant.pipeline import Assistant
    from galenic.assistant.triage.triage import NOTICE
    from galenic.cli.ask.answer import terminal

    notes = read_context(context)
    Assistant(style=style)  # a style that is not known is said at once
    kept = History(history_path() if history else None)
    console = terminal()
    console.print(NOTICE)
    console.print(WELCOME, markup=False)
    judge = judge_if(True, entailment_model, style)
    options = {"style": style, "second_opinion": second_opinion, "judge": judge}
    with ExitStack() as stack:
        talk = _Talk(console, notes, model, options, kept, stack)
        for said in _lines(console):
            if said.lower().rstrip(".!") in LEAVE:
                break
            talk.take(said)


def _lines(console: Console) -> Iterator[str]:
    """What the person types, line by line, until the end of the input."""
    while True:
        try:
            said = console.input(PROMPT).strip()
        except (EOFError, KeyboardInterrupt):
            console.print()
            return
        if said:
            yield said


@dataclass
class _Talk:
    """A conversation."""

    console: Console
    notes: str
    model: str
    options: dict[str, Any]
    history: History
    stack: ExitStack
    runtime: Runtime | None = None
    cited: list[Cited] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)

    def take(self, said: str) -> None:
        """A command, or a question."""
        from galenic.errors import Terminated, UserError

        word, _, rest = said.partition(" ")
        try:
            if word == "/clear":
                self.history.clear()
                self.answers.clear()
                self.console.print("Forgotten.")
            elif word == "/source":
                self._show(rest)
            elif word.startswith("/"):
                self.console.print("There are /source NUMBER, /clear and /quit.", markup=False)
            else:
                self._answer(said)
        except UserError as error:
            self.console.print(str(error), style="red", markup=False)
        except Terminated:
            raise
        except KeyboardInterrupt:
            self.console.print("\n(stopped)")

    def _answer(self, said: str) -> None:
        from galenic.assistant.model import load_runtime
        from galenic.assistant.pipeline import Assistant, collect, make_question
        from galenic.cli.ask.answer import print_events, print_tier
        from galenic.cli.ask.asking import judged, print_open

        asked = make_question(said, self.history.questions, self.notes, self.answers)
        asked, found = judged(self.console, Assistant(), asked, stays=True)
        self.answers = dict(asked.answers)
        heard: list[Event] = []
        try:
            print_tier(self.console, found)
            print_open(self.console, found, "Say more about it in your next message.")
            writes = self.options["style"] == "written" or self.options["second_opinion"]
            if writes and found.tier != "emergency" and self.runtime is None:
                self.runtime = self.stack.enter_context(load_runtime(self.model))
            answer = Assistant(self.runtime, **self.options).answer(asked, found)
            print_events(self.console, _heard(answer, heard))
        finally:  # what was said counts for the next message, whatever came of the answer
            reply = collect(found, iter(heard))
            self.cited = list(reply.sources)
            self.history.add(said, reply)

    def _show(self, number: str) -> None:
        found = [one.passage for one in self.cited if str(one.number) == number.strip()]
        if not found:
            self.console.print("There is no passage of that number in the last answer.")
        for passage in found:
            self.console.print(f"{passage.title} - {passage.question}", style="bold", markup=False)
            self.console.print(passage.text, markup=False)
            self.console.print(f"{passage.source}; {passage.url}", style="dim", markup=False)


def _heard(events: Iterator[Event], heard: list[Event]) -> Iterator[Event]:
    """The same events, noted as they pass."""
    for event in events:
        heard.append(event)
        yield event
