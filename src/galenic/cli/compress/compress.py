"""``galenic compress``: the stages of a recipe in order, into one finished folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from galenic.cli.options import ManifestOption, ModelArgument, NewFolderOption
from galenic.cli.stage import say_if_sample

if TYPE_CHECKING:
    from galenic.artifact.manifest import Manifest
    from galenic.recipes.run import CompressJob

__all__ = ["EXAMPLES", "HELP", "command"]


def _recipes() -> str:
    from galenic.recipes.recipe import shipped_recipes

    return ", ".join(shipped_recipes())


HELP = (
    "Compress a model by a recipe: stages of pruning and quantizing in order, checked, with "
    "manifest and model card. A run that was stopped is resumed when it is started "
    f"again. Recipes that come with the package: {_recipes()}."
)
EXAMPLES = """
**Examples**

`galenic compress smollm2-135m --recipe laptop --data sample -o dose/`

`galenic compress smollm2-135m --recipe sparse --data DIR -o dose/`

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
            help="Folder with medquad/medquad.jsonl.gz: medical text for methods that calibrate. "
            "sample: the embedded handbook, to try things out.",
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="UTF-8 text file of your own, to calibrate on as well.")
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure/--no-measure",
            help="With --data, read a few held-out texts at the end, for the model card.",
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
    from galenic.recipes.run import CompressJob, compress  # only now, for it takes seconds

    job = CompressJob(model, found, data, text, measure)
    with watched(
        f"{output} was not written; the same command goes on behind the last finished stage."
    ) as watcher:
        manifest = compress(job, output, watcher)
    if as_json:
        typer.echo(manifest.model_dump_json(indent=1))
    else:
        _show(job, manifest, output)


def _show(job: CompressJob, manifest: Manifest, output: Path) -> None:
    from galenic.units import format_size

    size = sum(
        file.num_bytes
        for name, file in manifest.files.items()
        if name.endswith((".gguf", ".safetensors"))
    )
    typer.echo(f"{output}: {job.model} by the recipe {job.recipe.name}, {format_size(size)}.")
    for stage in manifest.stages[-len(job.recipe.steps) :]:
        typer.echo(f"  {stage.stage} {stage.method}: all checks passed")
    typer.echo(f"What it is and how to run it: {output / 'README.md'}")
