"""Triage questions in a terminal: asked one by one; at the end, those left unanswered."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from galenic.assistant.pipeline import Assistant, UserQuestion
    from galenic.assistant.triage.triage import Answer, Triage

__all__ = [
    "AnswerFlag",
    "ask_back",
    "at_terminal",
    "helped_first",
    "judged",
    "print_open",
    "read_answers",
]

AnswerFlag: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--answer",
        metavar="ID=yes|no|unsure",
        help="Answer to a triage question, by its id; repeatable.",
        show_default=False,
    ),
]
HOW = "Answer with --answer ID=yes, ID=no or ID=unsure."
_WORDS: dict[str, Answer] = {
    **dict.fromkeys(("yes", "y"), "yes"),
    **dict.fromkeys(("no", "n"), "no"),
    **dict.fromkeys(("", "unsure", "not sure", "not-sure", "?"), "not sure"),
}


def read_answers(given: Sequence[str] | None) -> dict[str, Answer]:
    """Answers of ``--answer``, by the ids of their questions.

    Raises:
        UserError: one is not ``ID=yes``, ``ID=no`` or ``ID=unsure``, no question has the id, or an
            id is answered in two ways.
    """
    from galenic.assistant.triage.questions import check
    from galenic.errors import UserError

    found: dict[str, Answer] = {}
    for one in given or ():
        name, equals, word = one.partition("=")
        name, word = name.strip(), word.strip().lower()
        if not equals or not name or not word or word not in _WORDS:
            raise UserError(f"--answer {one!r}: it must be ID=yes, ID=no or ID=unsure.")
        if found.setdefault(name, _WORDS[word]) != _WORDS[word]:
            raise UserError(f"--answer {name}: it is answered in two ways; answer it once.")
    check(found)
    return found


def at_terminal() -> bool:
    """Whether somebody is there to ask."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def judged(
    console: Console,
    assistant: Assistant,
    asked: UserQuestion,
    *,
    may_ask: bool = True,
    stays: bool = False,
) -> tuple[UserQuestion, Triage]:
    """The question with the answers that were given to what triage asked, and the tier then.

    Args:
        console: where it is asked.
        assistant: does the triage.
        asked: the question.
        may_ask: whether anything is asked.
        stays: whether Ctrl-C ends only the questions, as the end of the input does.
    """
    from galenic.errors import Terminated

    answers = dict(asked.answers)

    def judge(known: Mapping[str, Answer]) -> Triage:
        return assistant.triage(replace(asked, answers=dict(known)))

    try:
        found = helped_first(console, judge, answers, asked.text) if may_ask else judge(answers)
    except KeyboardInterrupt as stop:
        if not stays or isinstance(stop, Terminated):
            raise
        console.print()
        found = judge(answers)
    return replace(asked, answers=answers), found


def helped_first(
    console: Console,
    judge: Callable[[Mapping[str, Answer]], Triage],
    answers: dict[str, Answer],
    text: str,
) -> Triage:
    """Lines to call for a cry for help, before any question; then the questions; then the tier.

    Args:
        console: where to say and ask it.
        judge: triage of the text with the answers so far.
        answers: so far; those that are given are added.
        text: of the message.
    """
    from galenic.cli.ask.answer import print_crisis

    found = judge(answers)
    said = print_crisis(console, found, text)
    if at_terminal() and found.questions:
        found = ask_back(console, judge, answers)
        if not said:
            print_crisis(console, found, text)
    return found


def ask_back(
    console: Console,
    judge: Callable[[Mapping[str, Answer]], Triage],
    answers: dict[str, Answer],
) -> Triage:
    """Ask the open questions one by one, until none is left or the input ends; then the tier.

    Args:
        console: where to ask.
        judge: triage of the text with the answers so far.
        answers: so far; those that are given are added.
    """
    found = judge(answers)
    if not found.questions:
        return found
    console.print("A few questions first, because the answers may change how soon you need help.")
    console.print("Type yes, no or not sure. Enter = not sure, Ctrl-D = stop asking.", style="dim")
    while found.questions:
        question = found.questions[0]
        answer = _answer_to(console, question.text)
        if answer is None:
            break
        answers[question.id] = answer
        found = judge(answers)
    console.print()
    return found


def _answer_to(console: Console, text: str) -> Answer | None:
    """What the person answers; None where the input ends."""
    while True:
        try:
            said = console.input(f"{text} ", markup=False).strip().lower()
        except EOFError:
            console.print()
            return None
        if said.rstrip(".") in _WORDS:
            return _WORDS[said.rstrip(".")]
        console.print("Please type yes, no or not sure.", style="dim")


def print_open(console: Console, result: Triage, how: str = HOW) -> None:
    """The questions that nobody answered, and how they can be."""
    from rich.text import Text

    if not result.questions:
        return
    begins = "" if result.final else "This is not final. "
    console.print(Text(f"{begins}Not known, and it may change how soon you need help:", "bold"))
    for question in result.questions:
        line = Text(f"- {question.text}")
        line.append(f" ({question.id})", style="dim")
        console.print(line)
    console.print(Text(how, style="dim"))
    console.print()
