"""``galenic triage``: how soon help is needed, by reviewable rules and without a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from galenic.assistant.triage import Triage

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
MOST_BYTES = 1_000_000
"""Of standard input."""
HEADINGS = {
    "emergency": "EMERGENCY: get help now",
    "today": "TODAY: speak to a doctor today",
    "days": "DAYS: see somebody in the next days",
    "self-care": "SELF-CARE: usually you can look after this yourself",
    "unknown": "UNKNOWN: no rule knows this",
}
STYLES = {"emergency": "bold red", "today": "bold yellow"}


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
    from galenic.assistant.triage import triage
    from galenic.errors import UserError

    if text == "-":
        text = _standard_input()
    if not text.strip():
        raise UserError("there is no text. Say what is wrong, in your own words.")
    result = triage(text, rules)
    if as_json:
        import json

        typer.echo(json.dumps(result.describe(), indent=1, ensure_ascii=False))
        return
    _print(result)


def _without_beginnings(texts: list[str]) -> list[str]:
    """Each text once, and none that another one begins with."""
    unique = dict.fromkeys(texts)
    return [t for t in unique if not any(u != t and u.startswith(t) for u in unique)]


def _standard_input() -> str:
    from galenic.errors import UserError

    given = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(given) > MOST_BYTES:
        raise UserError(f"standard input: more than {MOST_BYTES:,} bytes. Say it in fewer words.")
    try:
        return given.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"standard input is no UTF-8 text: {error.reason}.") from error


def _print(result: Triage) -> None:
    from rich.console import Console
    from rich.text import Text

    from galenic.assistant.triage import NOTICE

    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(HEADINGS[result.tier], style=STYLES.get(result.tier, "bold")))
    for do in _without_beginnings([finding.do for finding in result.leading]):
        console.print(Text(do))
    if result.leading:
        console.print()
    for finding in result.leading:
        words = ", ".join(f"“{word}”" for word in finding.words)
        console.print(Text(f"Why: {finding.reason}"))
        console.print(Text(f"     {words} (rule {finding.id})", style="dim"))
        source = finding.source
        console.print(Text(f"     {source.name}, {source.url}", style="dim"))
    if result.raised:
        console.print(Text(f"Raised: {result.raised}"))
    for aside in result.asides:
        console.print(Text(f"Not counted: “{aside.words}” ({aside.why})", style="dim"))
    for note in result.notes:
        console.print(Text(note))
    console.print()
    console.print(Text(NOTICE))
