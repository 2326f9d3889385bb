"""``galenic pack``: a model as one small file for transport."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galenic.cli.output import echo

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Pack a model for transport: tensor bytes sorted into planes, zeros omitted, the rest "
    "entropy-coded (Han 2015). `galenic unpack` restores every file bit for bit."
)
EXAMPLES = """\
**Examples**

`galenic pack dose/ -o dose.galenic`

`galenic pack model.gguf -o model.galenic`
"""


def command(
    model: Annotated[
        str,
        typer.Argument(
            help="An embedded model, a GGUF, a Hugging Face folder or a Hub id.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="File to create, ending in .galenic; must not exist.",
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the sizes as JSON.")] = False,
) -> None:
    """Pack a model for transport."""
    import json
    from dataclasses import asdict

    from galenic.artifact.pack import pack
    from galenic.cli.progress import watched

    with watched(f"Nothing was written to {output}.") as watcher:
        packed = pack(model, output, watcher)
    if as_json:
        echo(json.dumps(asdict(packed)))
        return
    before, after, plain = packed.num_bytes, packed.packed_bytes, packed.plain_bytes
    echo(
        f"{output}: {after / 1e6:,.1f} MB of {before / 1e6:,.1f} MB ({before / after:.2f} x "
        f"smaller); plain Zstandard of the same level: {plain / 1e6:,.1f} MB "
        f"({before / plain:.2f} x).\nUnpacked in memory and compared: every byte is the same."
    )
