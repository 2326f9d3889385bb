"""``galenic triage``: how soon help is needed, by reviewable rules and without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = """Say how soon help is needed: emergency, today, days, self-care, or unknown.

Reviewed rules decide, in milliseconds and without a model; each names its public source. When in
doubt they choose the more urgent tier. `unknown` means that no rule knows the text, not that all
is well. The text is neither logged nor stored. This is no diagnosis and no medical advice."""
EXAMPLES = """
**Examples**

`galenic triage "burning when I pee, fever and pain in my side"`

`galenic triage --json "my 6 week old has a fever"` for a program

`galenic triage -` reads the text from standard input, past the shell's history

`galenic triage --rules mine.yaml "..."` with rules of your own (docs/triage.md)
"""


def command(
    text: Annotated[str, typer.Argument(help="In your own words; - reads it from standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
    rules: Annotated[
        Path | None,
        typer.Option(
            help="A rules file of your own instead of the reviewed one.", show_default=False
        ),
    ] = None,
) -> None:
    """Say how soon help is needed."""
    from rich.text import Text

    from galenic.assistant.triage.triage import NOTICE, triage
    from galenic.cli.ask.answer import print_tier, read_words, terminal

    result = triage(read_words(text), rules)
    if as_json:
        import json

        typer.echo(json.dumps(result.describe(), indent=1, ensure_ascii=False))
        return
    console = terminal()
    print_tier(console, result)
    console.print(Text(NOTICE))
