"""``galenic unpack``: a packed model as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Unpack a model that `galenic pack` made: every file as it was, bit for bit, checked by hash."
)
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
            help="Folder, or of a packed GGUF the file, to make; must not exist.",
            show_default=False,
        ),
    ],
) -> None:
    """Unpack a model."""
    from galenic.artifact.pack import unpack
    from galenic.cli.progress import watched

    with watched(f"Nothing was written to {output}.") as watcher:
        files = unpack(packed, output, watcher)
    typer.echo(f"{output}: {len(files)} files, every one as it was packed (SHA-256).")
