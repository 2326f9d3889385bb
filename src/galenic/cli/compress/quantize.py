"""``galenic quantize``: store the weights of a model in fewer bits, as a new folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.cli.flags import with_flags, with_options
from galenic.cli.options import ManifestOption, NewFolderOption
from galenic.cli.output import echo
from galenic.cli.stage import run_stage
from galenic.compression.quantize.config import QuantizeConfig
from galenic.registry import QUANTIZERS

if TYPE_CHECKING:
    from galenic.artifact.manifest import Manifest

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Quantize a model to fewer bits per weight, with ggml's block types or another method. The "
    "result is read back and checked before it is saved: a GGUF by both runtimes; a folder in nf4 "
    "or int8, which llama.cpp cannot read, by the torch runtime."
)
EXAMPLES = """
**Examples**

`galenic quantize ./my-model --bits 4 --data DIR -o small/`

`galenic quantize ./my-model --target-size 90MB --data DIR --text general.txt -o mixed/`

`galenic quantize smollm2-135m --target-bpw 4.5 --exclude Q4_1 --data DIR -o mixed/`

`galenic quantize ./my-model --type Q8_0 --no-importance -o eight/`

`galenic quantize ./merged --type Q4_1 --tensor-type 'blk\\.2[0-9]=Q8_0' --data DIR -o tuned/`

`galenic quantize ./my-model --method nf4 -o four/`
"""


FIRST = ("model", "method", "bits", "target_bpw", "data", "text", "seed")


@with_flags(with_options(QuantizeConfig, QUANTIZERS), first=FIRST)
def command(
    *,
    output: NewFolderOption,
    as_json: ManifestOption = False,
    **values: Any,
) -> None:
    """Quantize a model."""
    place = "galenic.compression.quantize.run:quantize"
    manifest, _ = run_stage(QuantizeConfig, QUANTIZERS, place, output, values)
    if as_json:
        echo(manifest.model_dump_json(indent=1))
    else:
        _show(manifest, output)


def _show(manifest: Manifest, output: Path) -> None:
    stage = manifest.stages[-1]
    sizes, checks = stage.sizes, stage.checks
    total = stage.parameters["after"]["total"]
    for note in stage.notes:
        echo(f"Note: {note}.")
    bits = 8 * checks["tensor_bytes"] / total
    echo(
        f"{output}: {sizes['after']:,} bytes, {sizes['after'] / sizes['dense']:.1%} of the dense "
        f"model's {sizes['dense']:,}; {bits:.2f} bits a weight."
    )
    if (gguf := output / "model.gguf").exists():
        from galenic.models.gguf.header import tensor_types
        from galenic.units import format_size

        types = ", ".join(f"{k} {format_size(n)}" for k, n in tensor_types(gguf).most_common())
        echo(f"Tensors: {types}.")
    difference, tolerance = checks["logit_difference"], checks["tolerance"]
    echo(
        "Read back: no value is missing or not finite; logits differ by "
        f"{difference:.2g} (allowed: {tolerance:.2g})."
    )
