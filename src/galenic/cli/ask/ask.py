"""``galenic ask``: one question, one answer, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galenic.assistant import DEFAULT_MODEL
from galenic.cli.ask.answer import ContextFlag, JudgeFlag, ModelFlag, OpinionFlag, StyleFlag
from galenic.cli.ask.asking import AnswerFlag
from galenic.cli.output import echo

__all__ = ["EXAMPLES", "HELP", "command", "read_context"]

HELP = """Ask a health question: how soon help is needed, what the sources say, what to watch for.

Rules decide how soon help is needed before any model runs; in an emergency they alone answer. In a
terminal a few questions are asked first; elsewhere the open ones are printed. Each sentence names
the page it comes from, in the embedded handbook or in what you indexed (`galenic index`). Where
none fits, the nearest topics are listed instead of an answer. Nothing is logged, stored or sent.
This is no diagnosis and no medical advice.
"""
EXAMPLES = """
**Examples**

`galenic ask "Burning when I pee. Could this be a UTI, and how urgent is it?"`

`galenic ask --context notes.txt "Is this getting worse?"` with notes, or a FHIR R4 record (.json)

`galenic ask --model dose/ --style written "..."` the model writes, checked against the sources

`galenic ask --answer any-chest=no "..."` answers a triage question printed before

`galenic ask -` reads standard input: the question stays out of the shell's history
"""
MOST_BYTES = 5_000_000
"""Of a file of notes or a record."""


def command(
    question: Annotated[str, typer.Argument(help="In your own words; `-` reads standard input.")],
    context: ContextFlag = None,
    model: ModelFlag = DEFAULT_MODEL,
    style: StyleFlag = "extractive",
    second_opinion: OpinionFlag = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
    answer: AnswerFlag = None,
    entailment_model: JudgeFlag = None,
) -> None:
    """Answer one question."""
    from galenic.assistant.events import as_json as data_of
    from galenic.assistant.model import judge_if, runtime_if
    from galenic.assistant.pipeline import Assistant, make_question
    from galenic.assistant.triage.triage import NOTICE
    from galenic.cli.ask.answer import (
        print_events,
        print_tier,
        read_words,
        reader_locale,
        terminal,
    )
    from galenic.cli.ask.asking import judged, print_open, read_answers

    replies = read_answers(answer)
    judge_if(False, entailment_model, style)  # a wrong setting is said at once
    asked = make_question(read_words(question), (), read_context(context), replies)
    console = terminal()
    asked, found = judged(console, Assistant(style=style), asked, may_ask=not as_json)
    writes = found.tier != "emergency" and (style == "written" or second_opinion)
    if as_json:
        import json

        from galenic.assistant.triage.crisis import described

        with runtime_if(writes, DEFAULT_MODEL if found.tier == "emergency" else model) as runtime:
            judge = judge_if(writes, entailment_model, style)
            assistant = Assistant(runtime, style, second_opinion=second_opinion, judge=judge)
            events = list(assistant.ask(asked))
        first = described(found, asked.text, reader_locale())
        said = [
            {"event": event.name, **data_of(event), **(first if at == 0 else {})}
            for at, event in enumerate(events)
        ]
        echo(json.dumps(said, indent=1, ensure_ascii=False))
        return
    print_tier(console, found)
    print_open(console, found)
    if found.tier != "emergency":
        with runtime_if(writes, model) as runtime:
            judge = judge_if(writes, entailment_model, style)
            assistant = Assistant(runtime, style, second_opinion=second_opinion, judge=judge)
            print_events(console, assistant.answer(asked, found))
    console.print(NOTICE)


def read_context(path: Path | None) -> str:
    """The text of a file of notes or of a record; empty without one.

    Raises:
        UserError: it cannot be read, or is not UTF-8 text.
    """
    from galenic.errors import UserError
    from galenic.reading import read_file

    if path is None:
        return ""
    try:
        return read_file(path, MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"--context {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"--context {path} is not UTF-8 text ({error.reason}). Save it as UTF-8."
        ) from error
