"""``galenic purge``: forget everything the assistant keeps."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = """Delete all that the assistant keeps: the index of your documents and any history.

Your documents, models and caches stay. Deleting frees the space on the disk; a drive may keep old
blocks until it writes over them, which only encryption of the disk guards against."""
EXAMPLES = """
**Examples**

`galenic purge` shows what would go, and asks

`galenic purge --yes`
"""


def command(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete the index and any history."""
    from galenic.home import assistant_folder, kept_files, purge
    from galenic.units import format_size

    files = kept_files()
    if not files:
        typer.echo(f"Nothing is kept in {assistant_folder()}.")
        return
    if not yes:
        for path in files:
            typer.echo(path)
        typer.confirm(f"Delete {len(files)} files for good?", abort=True)
    for path, size in purge():
        typer.echo(f"deleted {path}, {format_size(size)}")
