"""``galenic compress``: the stages of a recipe in order, into one finished folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from galenic.cli.options import ManifestOption, ModelArgument, NewFolderOption
from galenic.cli.output import echo
from galenic.cli.stage import say_if_sample

if TYPE_CHECKING:
    from galenic.artifact.manifest import Manifest
    from galenic.recipes.run import CompressJob

__all__ = ["EXAMPLES", "HELP", "command"]


def _recipes() -> str:
    from galenic.recipes.recipe import shipped_recipes

    return ", ".join(shipped_recipes())


HELP = (
    "Compress a model by a recipe: pruning and quantizing stages in order, each checked, with a "
    "manifest and a model card. An interrupted run resumes when the same command is run again. "
    f"Recipes in the package: {_recipes()}."
)
EXAMPLES = """
**Examples**

`galenic compress smollm2-135m --recipe laptop --data sample --num-samples 8 -o dose/` a quick trial

`galenic compress smollm2-135m --recipe laptop --data DIR -o dose/`

`galenic compress ./my-model --recipe my-recipe.yaml --text notes.txt -o dose/`
"""


def command(
    model: ModelArgument,
    *,
    recipe: Annotated[
        str,
        typer.Option(
            "-r", "--recipe", help="Name of a recipe, or a YAML file.", show_default=False
        ),
    ],
    output: NewFolderOption,
    data: Annotated[
        str | None,
        typer.Option(
            envvar="GALENIC_DATA",
            help="Folder with medquad/medquad.jsonl.gz, the medical text to calibrate on; "
            "`sample` uses the embedded handbook, for a demonstration.",
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Additional calibration text: your own UTF-8 text file.")
    ] = None,
    num_samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Calibration sequences, instead of the recipe's number; fewer take less time.",
        ),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure/--no-measure",
            help="With --data: measure perplexity on held-out text at the end, for the model card.",
        ),
    ] = True,
    as_json: ManifestOption = False,
) -> None:
    """Compress a model by a recipe."""
    from galenic.artifact.manifest import check_new
    from galenic.cli.progress import watched
    from galenic.recipes.recipe import read_recipe

    check_new(output)
    say_if_sample(data)
    found = read_recipe(recipe)
    if num_samples is not None:
        found = found.with_samples(num_samples)
    from galenic.recipes.run import CompressJob, compress  # only now, for it takes seconds

    job = CompressJob(model, found, data, text, measure)
    with watched(
        f"{output} was not written; run the same command again to resume after the last "
        "finished stage.",
        less="a smaller --num-samples and --no-measure shorten it",
    ) as watcher:
        manifest = compress(job, output, watcher)
    if as_json:
        echo(manifest.model_dump_json(indent=1))
    else:
        _show(job, manifest, output)


def _show(job: CompressJob, manifest: Manifest, output: Path) -> None:
    from galenic.units import format_size

    size = sum(
        file.num_bytes
        for name, file in manifest.files.items()
        if name.endswith((".gguf", ".safetensors"))
    )
    echo(f"{output}: {job.model} by the recipe {job.recipe.name}, {format_size(size)}.")
    for stage in manifest.stages[-len(job.recipe.steps) :]:
        echo(f"  {stage.stage} {stage.method}: all checks passed")
    echo(f"What it is and how to run it: {output / 'README.md'}")
