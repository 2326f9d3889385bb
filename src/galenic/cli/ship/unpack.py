"""``galenic unpack``: a packed model as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from galenic.cli.output import echo, written

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = "Unpack a model packed by `galenic pack`, bit for bit, checked by hash."
EXAMPLES = """\
**Examples**

`galenic unpack dose.galenic -o dose/`
"""


def command(
    packed: Annotated[Path, typer.Argument(help="The packed file.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="Folder to create (for a packed GGUF: the file); must not exist.",
            show_default=False,
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the written files as JSON.")
    ] = False,
) -> None:
    """Unpack a model."""
    from galenic.artifact.pack import unpack
    from galenic.cli.progress import watched

    with watched(f"Nothing was written to {output}.") as watcher:
        files = unpack(packed, output, watcher)
    if as_json:
        echo(json.dumps(written(output), indent=1))
    else:
        echo(f"{output}: {len(files)} files, each identical to what was packed (SHA-256).")
