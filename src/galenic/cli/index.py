"""``galenic index``: take in the passages that answers are grounded on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from galenic.assistant.index import Summary

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = """Index documents for the assistant: MedQuAD, and folders of your own (.txt, .md, .pdf, and
health records as FHIR R4 .json).

The index is one file, readable by you alone; nothing leaves the machine. Run the command again
after a change: only new and changed files are read. Hidden files, links, and files that are too
large or hold no text are passed over, and counted."""
EXAMPLES = """
**Examples**

`galenic index medquad --data DIR` takes in 16,359 answers of the US National Institutes of Health

`galenic index ~/Documents/health`

`galenic index --list`

`galenic index --remove ~/Documents/health`
"""


def command(
    folder: Annotated[
        str | None,
        typer.Argument(
            help="Folder of your own documents, or `medquad`. (A folder of that name: ./medquad)",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="GALENIC_DATA",
            help="For medquad: folder with medquad/medquad.jsonl.gz.",
            show_default=False,
        ),
    ] = None,
    max_size: Annotated[str, typer.Option(help="Files larger than this are passed over.")] = "50MB",
    show: Annotated[bool, typer.Option("--list", help="Show what is indexed.")] = False,
    remove: Annotated[
        str | None,
        typer.Option(
            help="Remove a folder, or medquad, from the index. The folder itself stays.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Take in documents for the assistant."""
    from galenic.errors import UserError

    if (folder is not None) + show + (remove is not None) != 1:
        raise UserError(
            "one of these is needed: a folder to index (or `medquad`), --list, --remove FOLDER."
        )
    if remove is not None:
        _remove(remove)
    elif folder is not None:
        _index(folder, data, max_size)
    else:
        _list()


def _index(folder: str, data: Path | None, max_size: str) -> None:
    from galenic.assistant.index import MEDQUAD, index_folder, index_medquad
    from galenic.cli.progress import watched
    from galenic.units import parse_size

    max_bytes = parse_size(max_size, "--max-size")
    with watched("Whole files are kept; the same command goes on from there.") as watcher:
        if folder == MEDQUAD:
            summary = index_medquad(data, watcher)
        else:
            path = Path(folder).expanduser()
            summary = index_folder(path, watcher, max_bytes=max_bytes)
    _print(summary)


def _print(summary: Summary) -> None:
    typer.echo(
        f"{summary.collection}: {summary.new:,} new, {summary.changed:,} changed, "
        f"{summary.unchanged:,} unchanged, {summary.removed:,} removed; "
        f"{summary.passages:,} passages written"
    )
    for reason, number in summary.skipped.most_common():
        typer.echo(f"  {number:,} x {reason}")


def _list() -> None:
    from galenic.assistant.folder import index_path
    from galenic.assistant.store import open_store
    from galenic.units import format_size

    path = index_path()
    with open_store(path) as store:
        collections = store.collections()
    for collection in collections:
        typer.echo(
            f"{collection.name}: {collection.num_files:,} files, "
            f"{collection.num_passages:,} passages, licence: {collection.license}"
        )
        if collection.attribution:
            typer.echo(f"  {collection.attribution}")
    if not collections:
        typer.echo("Nothing is indexed.")
    typer.echo(f"{path}, {format_size(path.stat().st_size)}")


def _remove(name: str) -> None:
    from galenic.assistant.index import remove

    removed = remove(str(Path(name).expanduser()))
    typer.echo(f"{removed} is out of the index. The documents themselves were not touched.")
