"""``galenic triage``: how soon help is needed, by reviewable rules and without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galenic.cli.ask.asking import AnswerFlag
from galenic.cli.output import echo

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = """Say how soon help is needed: emergency, today, days, self-care, or unknown.

Reviewable rules decide, in milliseconds and without a language model; each names its public source.
When in doubt the more urgent tier is chosen. `unknown` means that the urgency could not be judged,
not that all is well. In a terminal a few questions are asked first; elsewhere the open ones are
printed. The text is neither logged nor stored. This is no diagnosis and no medical advice.
"""
EXAMPLES = """
**Examples**

`galenic triage "burning when I pee, fever and pain in my side"`

`galenic triage --json "my 6 week old has a fever"` JSON, for programs

`galenic triage -` reads standard input: the text stays out of the shell's history

`galenic triage --answer any-chest=no "my arm hurts"` answers a triage question by its id

`galenic triage --rules mine.yaml "..."` with your own rules (docs/triage.md)
"""


def command(
    text: Annotated[str, typer.Argument(help="In your own words; `-` reads standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
    rules: Annotated[
        Path | None,
        typer.Option(help="Use your own rules file instead of Galenic's.", show_default=False),
    ] = None,
    answer: AnswerFlag = None,
) -> None:
    """Say how soon help is needed."""
    from rich.text import Text

    from galenic.assistant.triage.triage import NOTICE, triage
    from galenic.cli.ask.answer import (
        print_tier,
        read_words,
        reader_locale,
        terminal,
    )
    from galenic.cli.ask.asking import helped_first, print_open, read_answers

    words, answers = read_words(text), read_answers(answer)
    if as_json:
        import json

        from galenic.assistant.triage.crisis import described

        found = described(triage(words, rules, answers=answers), words, reader_locale())
        echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    console = terminal()
    result = helped_first(
        console, lambda known: triage(words, rules, answers=known), answers, words
    )
    print_tier(console, result)
    print_open(console, result)
    console.print(Text(NOTICE))
