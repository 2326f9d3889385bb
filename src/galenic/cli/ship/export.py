"""``galenic export``: a model in the form that another program takes."""

from __future__ import annotations

from typing import Annotated

import typer

from galenic.cli.options import ModelArgument, NewFolderOption

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
        typer.Option(help="ollama, llama.cpp, transformers or lm-eval.", show_default=False),
    ],
    output: NewFolderOption,
    data: Annotated[
        str | None,
        typer.Option(
            envvar="GALENIC_DATA",
            help="Folder with the benchmark files, or `sample`; for lm-eval.",
        ),
    ] = None,
    adapter: Annotated[
        str | None,
        typer.Option(
            help="Adapter that goes along beside a GGUF: a folder of `galenic finetune`, or a "
            "LoRA in GGUF form; for llama.cpp."
        ),
    ] = None,
) -> None:
    """Export a model."""
    from galenic.exporters.run import export

    typer.echo(export(model, to, output, data, adapter))
