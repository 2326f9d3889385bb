"""``galenic search``: the passages that an answer would be grounded on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from galenic.cli.output import PlainConsole, echo

if TYPE_CHECKING:
    from rich.console import Console

    from galenic.retrieval.retrieve import Passage

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = """Search the indexed documents: passages with place, source and licence.

Everyday words are also searched as medical terms ("burning when I pee": dysuria). An index with
vectors (`galenic index --embed`) is searched by words and by vectors, and the two rankings are
combined. The question is neither logged nor stored. This is no diagnosis and no medical advice.
"""
EXAMPLES = """
**Examples**

`galenic search "burning when I pee"`

`galenic search "side effects of metformin" -k 10`

`galenic search --json "my last HbA1c"` JSON, for programs

`galenic search --no-embeddings "trouble sleeping"` by words only

`galenic search -` reads standard input: the question stays out of the shell's history
"""


def command(
    question: Annotated[str, typer.Argument(help="In your own words; `-` reads standard input.")],
    k: Annotated[
        int, typer.Option("-k", "--limit", min=1, max=100, help="Maximum number of passages.")
    ] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
    embeddings: Annotated[
        bool, typer.Option(help="Also search by vectors, where the index has them.")
    ] = True,
) -> None:
    """Search the index."""
    from galenic.cli.ask.answer import read_words
    from galenic.retrieval.retrieve import open_retriever

    question = read_words(question)
    with open_retriever(embeddings=embeddings) as retriever:
        found, note = retriever.search(question, k), retriever.note
    if note:
        echo(note, err=True)
    if as_json:
        import json
        from dataclasses import asdict

        echo(json.dumps([asdict(passage) for passage in found], indent=1, ensure_ascii=False))
        return
    if not found:
        echo(
            "Nothing was found. Other words may help; `galenic index --list` shows what is indexed."
        )
        return
    console = PlainConsole(highlight=False, soft_wrap=True)
    for number, passage in enumerate(found, start=1):
        _print(console, number, passage)
    for attribution in dict.fromkeys(p.attribution for p in found if p.attribution):
        console.print(attribution, markup=False)


def _print(console: Console, number: int, passage: Passage) -> None:
    from rich.text import Text

    from galenic.retrieval.documents.base import clean

    title = Text(f"[{number}] {passage.title}", style="bold")
    if passage.question and passage.question != passage.title:
        title.append(f" - {passage.question}")
    console.print(title)
    text = Text(passage.snippet.text)
    for start, end in passage.snippet.marks:
        text.stylize("bold underline", start, end)
    console.print(text)
    rights = f"{passage.source}; licence: {passage.license}"
    where = clean(f"{passage.document}, {passage.place}")  # names of files hold anything
    console.print(Text(f"{where}; {rights}", style="dim"))
    if passage.url:
        console.print(Text(passage.url, style="dim"))
    console.print()
