"""``galenic prune``: remove parameters of a model and write the result as a new folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.cli.flags import with_flags, with_options
from galenic.cli.options import ManifestOption, NewFolderOption
from galenic.cli.output import echo
from galenic.cli.stage import run_stage
from galenic.compression.prune.config import PruneConfig
from galenic.registry import PRUNERS

if TYPE_CHECKING:
    from galenic.artifact.manifest import Manifest

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Prune a model: magnitude, Wanda and SparseGPT set weights to zero; width and depth make the "
    "model smaller. The result is an ordinary model folder, read back and checked before it is "
    "saved."
)
EXAMPLES = """
**Examples**

`galenic prune smollm2-135m --method wanda --sparsity 0.2 --data DIR -o small/`

`galenic prune smollm2-135m --method width --sparsity 0.2 --data DIR -o narrow/`

`galenic prune ./my-model --method depth --sparsity 0.2 --text notes.txt -o shallow/`

`galenic prune ./my-model --method sparsegpt --pattern 2:4 --text notes.txt -o sparse/`

`galenic prune ./my-model --method magnitude --neurons -o collapsed/`
"""


FIRST = ("model", "method", "sparsity", "data", "text", "seed")


@with_flags(with_options(PruneConfig, PRUNERS), first=FIRST)
def command(
    *,
    output: NewFolderOption,
    as_json: ManifestOption = False,
    **values: Any,
) -> None:
    """Prune a model."""
    place = "galenic.compression.prune.run:prune"
    manifest, pruner = run_stage(PruneConfig, PRUNERS, place, output, values)
    if as_json:
        echo(manifest.model_dump_json(indent=1))
    else:
        _show(manifest, output, pruner.shrinks)


def _show(manifest: Manifest, output: Path, shrinks: bool) -> None:
    stage = manifest.stages[-1]
    before, after = stage.parameters["before"], stage.parameters["after"]
    size = sum(f.num_bytes for name, f in manifest.files.items() if name.endswith(".safetensors"))
    echo(
        f"{output}: {stage.removed['blocks']:.2%} of the blocks' parameters removed, "
        f"{stage.removed['whole']:.2%} of the whole model's "
        f"({before['embeddings']:,} of {before['total']:,} are embeddings)."
    )
    if not shrinks:
        echo(
            f"The file is no smaller and no faster: {after['zeros']:,} zeros are stored like other "
            f"numbers ({size / 1e6:,.1f} MB)."
        )
    echo(
        "Read back with transformers: logits differ by "
        f"{stage.checks['logit_difference']:.1g} of the largest, no value is missing."
    )
