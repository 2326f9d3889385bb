"""``galenic purge``: forget everything the assistant keeps."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from galenic.cli.output import echo

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = """Delete everything the assistant keeps: the index of your documents and any history.

Your documents, models and caches are not touched. Deleted data may remain in unused blocks of the
drive until they are overwritten; only disk encryption protects against that.
"""
EXAMPLES = """
**Examples**

`galenic purge` lists what would be deleted, and asks

`galenic purge --yes`
"""


def command(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the deleted files as JSON.")
    ] = False,
) -> None:
    """Delete the index and any history."""
    from galenic.home import assistant_folder, kept_files, purge
    from galenic.units import format_size

    files = kept_files()
    if not files and not as_json:
        echo(f"Nothing is kept in {assistant_folder()}.")
        return
    if files and not yes:
        for path in files:
            echo(path, err=as_json)
        typer.confirm(f"Delete {len(files)} files permanently?", abort=True, err=as_json)
    deleted = purge()
    if as_json:
        sizes = {str(path): size for path, size in deleted}
        echo(json.dumps({"path": str(assistant_folder()), "files": sizes}, indent=1))
        return
    for path, size in deleted:
        echo(f"deleted {path}, {format_size(size)}")
