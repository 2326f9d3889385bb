"""How an answer is shown in a terminal: tier, sentences, and the passages that they name."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from galenic.cli.output import PlainConsole

if TYPE_CHECKING:
    from rich.console import Console

    from galenic.assistant.events import Cited, Event, Sentence
    from galenic.assistant.triage.triage import Triage

__all__ = [
    "ContextFlag",
    "JudgeFlag",
    "ModelFlag",
    "OpinionFlag",
    "StyleFlag",
    "print_crisis",
    "print_events",
    "print_tier",
    "read_words",
    "reader_locale",
    "terminal",
]

ContextFlag: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Notes (text) or a health record (FHIR R4 JSON).", show_default=False),
]
ModelFlag: TypeAlias = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="smollm2-135m (embedded), a dose, a GGUF file, a folder, or a Hub id.",
    ),
]
StyleFlag: TypeAlias = Annotated[
    str,
    typer.Option(
        help="extractive: sentences quoted from the sources; written: the model writes, and only "
        "sentences that a source entails are shown."
    ),
]
JudgeFlag: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--entailment-model",
        help="With --style written: folder of a transformers classifier for entailment (NLI) that "
        "also checks each sentence. Untried with a trained model.",
    ),
]
OpinionFlag: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--second-opinion",
        help="Let the model raise the urgency to `today`; it never lowers it. Small models are "
        "often wrong about this.",
    ),
]
MOST_BYTES = 1_000_000
"""Of standard input, or of a file of notes."""
HEADINGS = {
    "emergency": "EMERGENCY: get help now",
    "today": "TODAY: speak to a doctor today",
    "days": "DAYS: see somebody within a few days",
    "self-care": "SELF-CARE: usually you can look after this yourself",
    "unknown": "UNKNOWN: we could not tell how urgent this is",
}
GENERAL = "A GENERAL QUESTION: nobody is said to be ill now"
STYLES = {"emergency": "bold red", "today": "bold yellow"}
SECTIONS = {
    "warning": "Take care",
    "answer": "What the sources say",
    "watch": "What to watch for",
    "questions": "Questions for your appointment",
}


def terminal() -> Console:
    """Where it is shown: long lines stay lines when they are sent on to a file."""
    return PlainConsole(highlight=False, soft_wrap=not sys.stdout.isatty())


def read_words(text: str) -> str:
    """The text, or standard input where it is ``-``.

    Raises:
        UserError: it is too long, no UTF-8, or empty.
    """
    from galenic.errors import UserError

    if text == "-":
        given = sys.stdin.buffer.read(MOST_BYTES + 1)
        if len(given) > MOST_BYTES:
            raise UserError(
                f"standard input: more than {MOST_BYTES:,} bytes. Say it in fewer words."
            )
        try:
            text = given.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"standard input is not UTF-8 text: {error.reason}.") from error
    if not text.strip():
        raise UserError("there is no text. Say what is wrong, in your own words.")
    return text


def reader_locale() -> str:
    """The locale that the environment names, by which lines to call are chosen; empty = none."""
    named = (os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return next((one for one in named if one), "")


def print_crisis(console: Console, result: Triage, text: str) -> bool:
    """Say first what helps after a cry for help: lines to call; True if there was one."""
    from rich.text import Text

    from galenic.assistant.triage.crisis import crisis

    cry = crisis(result, text, reader_locale())
    if cry is not None:
        console.print(Text(cry.text, style="bold"))
        console.print()
    return cry is not None


def print_tier(console: Console, result: Triage) -> None:
    """How soon help is needed, what to do and why."""
    from rich.text import Text

    heading = GENERAL if result.general else HEADINGS[result.tier]
    console.print(Text(heading, style=STYLES.get(result.tier, "bold")))
    for do in _without_beginnings([finding.do for finding in result.leading]):
        console.print(Text(do))
    if result.leading:
        console.print()
    for finding in result.leading:
        words = ", ".join(f"“{word}”" for word in finding.words)
        console.print(Text(f"Why: {finding.reason}"))
        by = "your answer to " if finding.layer == "questions" else ""
        console.print(Text(f"     {by}{words} (rule {finding.id})", style="dim"))
        source = finding.source
        console.print(Text(f"     {source.name}, {source.url}", style="dim"))
    if result.raised:
        console.print(Text(f"Raised: {result.raised}"))
    if result.people:
        console.print(Text(f"Taken into account: {'; '.join(result.people)}", style="dim"))
    for aside in result.asides:
        console.print(Text(f"Not counted: “{aside.words}” ({aside.why})", style="dim"))
    for note in result.notes:
        console.print(Text(note))
    console.print()


def print_events(console: Console, events: Iterable[Event]) -> None:
    """Sentences as they come, and their passages at the end."""
    from rich.text import Text

    from galenic.assistant.events import Done, Note, Sentence, Sources, Tier

    cited: list[Cited] = []
    section, seconds, model = "", 0.0, ""
    behind: dict[str, None] = {}  # where questions come from, said once
    for event in events:
        if isinstance(event, Tier):
            print_tier(console, event.triage)
        elif isinstance(event, Sources):
            cited += event.sources
        elif isinstance(event, Note):
            style = "yellow" if event.kind == "guard" else "bold"
            console.print(Text(event.text, style=style))
            console.print()
        elif isinstance(event, Sentence):
            if event.section != section:
                console.print(Text(("\n" if section else "") + SECTIONS[event.section], "bold"))
                section = event.section
            console.print(_sentence(event))
            if section == "questions" and event.rule is not None:
                behind[f"({event.rule.name})"] = None
        elif isinstance(event, Done):
            seconds, model = event.seconds, event.model
    for line in behind:
        console.print(Text(line, style="dim"))
    _print_sources(console, cited)
    by = f"{model}, " if model else ""
    console.print(Text(f"({by}{seconds:.1f} s, on this machine)", style="dim"))


def _sentence(event: Sentence) -> object:
    from rich.text import Text

    text = Text(f"- {event.text}")
    if event.sources:
        text.append(" " + "".join(f"[{number}]" for number in event.sources), style="cyan")
    elif event.rule is not None and event.section == "questions":
        pass
    elif event.rule is not None:
        text.append(f" ({event.rule.name})", style="dim")
    else:
        text.append(" (not sourced)", style="yellow")
    return text


def _print_sources(console: Console, cited: list[Cited]) -> None:
    from rich.text import Text

    from galenic.assistant.handbook.cite import HANDBOOK
    from galenic.retrieval.documents.base import clean

    if cited:
        console.print(Text("\nSources", style="bold"))
    for one in cited:
        passage = one.passage
        title = Text(f"[{one.number}] ", style="cyan")
        title.append(passage.title)
        if (
            passage.question
            and passage.question != passage.title
            and passage.collection != HANDBOOK
        ):
            title.append(f" - {passage.question}")
        console.print(title)
        where = passage.url or clean(f"{passage.document}, {passage.place}")
        console.print(Text(f"    {passage.source}; {where}", style="dim"))
    for line in _licences(cited):
        console.print(Text(f"    {line}", style="dim"))
    for attribution in dict.fromkeys(c.passage.attribution for c in cited if c.passage.attribution):
        console.print(Text(f"    {attribution}", style="dim"))
    console.print()


def _licences(cited: list[Cited]) -> list[str]:
    """Each licence once, with the numbers of its passages where there is more than one."""
    found: dict[str, list[int]] = {}
    for one in cited:
        if one.passage.license:
            found.setdefault(one.passage.license, []).append(one.number)
    if len(found) == 1:
        return [f"Licence: {license}" for license in found]
    return [
        f"Licence of {', '.join(f'[{n}]' for n in numbers)}: {license}"
        for license, numbers in found.items()
    ]


def _without_beginnings(texts: list[str]) -> list[str]:
    """Each text once, and none that another one begins with."""
    unique = dict.fromkeys(texts)
    return [t for t in unique if not any(u != t and u.startswith(t) for u in unique)]
