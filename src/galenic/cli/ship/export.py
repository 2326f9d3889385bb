"""``galenic export``: a model in the form that another program takes."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from galenic.cli.options import ModelArgument, NewFolderOption
from galenic.cli.output import echo, written

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Write a model for another program: ollama (GGUF and Modelfile), llama.cpp (GGUF), "
    "transformers (folder with safetensors) or lm-eval (that folder, and our benchmarks as tasks)."
)
EXAMPLES = """
**Examples**

`galenic export dose/ --to ollama -o for-ollama/`

`galenic export dose/ --to lm-eval --data DIR -o for-lm-eval/`
"""


def command(
    model: ModelArgument,
    *,
    to: Annotated[
        str,
        typer.Option(
            help="ollama, llama.cpp (a GGUF), transformers or lm-eval.", show_default=False
        ),
    ],
    output: NewFolderOption,
    data: Annotated[
        str | None,
        typer.Option(
            envvar="GALENIC_DATA",
            help="With --to lm-eval: folder with the benchmark files, or `sample`.",
        ),
    ] = None,
    adapter: Annotated[
        str | None,
        typer.Option(
            help="LoRA adapter to export beside a GGUF (--to llama.cpp): a folder made by "
            "`galenic finetune`, or a GGUF."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the written files and their use as JSON.")
    ] = False,
) -> None:
    """Export a model."""
    from galenic.exporters.run import export

    use = export(model, to, output, data, adapter)
    if as_json:
        echo(json.dumps({**written(output), "to": to, "use": use}, indent=1))
    else:
        echo(use)
