"""``galenic merge``: an adapter and its base as one ordinary model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galenic.cli.options import ManifestOption, NewFolderOption
from galenic.cli.output import echo

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Merge an adapter (LoRA, rsLoRA, DoRA; as saved by the library peft) into its base model. The "
    "result is an ordinary model folder, compared with base and adapter before it is saved."
)
EXAMPLES = """\
**Examples**

`galenic merge smollm2-135m adapter/ -o merged/`

`galenic merge ./my-model adapter/ -o merged/ && galenic quantize merged/ --bits 4 -o small/`
"""


def command(
    model: Annotated[
        str,
        typer.Argument(
            help="The base: an embedded model, a .gguf file, a Hugging Face folder or a Hub id.",
            show_default=False,
        ),
    ],
    adapter: Annotated[Path, typer.Argument(help="Folder of the adapter.", show_default=False)],
    output: NewFolderOption,
    as_json: ManifestOption = False,
) -> None:
    """Merge an adapter."""
    from galenic.artifact.manifest import check_new
    from galenic.cli.progress import watched

    check_new(output)
    from galenic.training.merge import merge  # only now, for it takes seconds

    with watched(f"Nothing was written to {output}.") as watcher:
        manifest = merge(model, adapter, output, watcher)
    if as_json:
        echo(manifest.model_dump_json(indent=1))
        return
    checks = manifest.stages[-1].checks
    echo(
        f"{output}: merged. Logits differ from those of base and adapter by "
        f"{checks['adapter_logit_difference']:.1g} of the largest; read back from the folder by "
        f"{checks['logit_difference']:.1g}."
    )
