"""Flags that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DataOption", "ManifestOption", "ModelArgument", "NewFolderOption", "RunsArgument"]

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="GALENIC_DATA",
        help="Folder with the benchmark files (pubmedqa/, medqa/, medmcqa/ as gzip JSONL). "
        "Without it the sets come from the Hugging Face Hub into the user cache.",
        show_default=False,
    ),
]

ModelArgument = Annotated[
    str,
    typer.Argument(
        help="smollm2-135m (embedded), a GGUF file, a Hugging Face folder, or a Hub id.",
        show_default=False,
    ),
]

NewFolderOption = Annotated[
    Path,
    typer.Option("-o", "--output", help="Folder to create; must not exist.", show_default=False),
]

ManifestOption = Annotated[
    bool, typer.Option("--json", help="Print the manifest as JSON on standard output.")
]

RunsArgument = Annotated[
    list[Path],
    typer.Argument(help="Run folders written by `galenic evaluate`.", show_default=False),
]
