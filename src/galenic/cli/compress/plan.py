"""``galenic plan``: which recipe fits this device."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from galenic.cli.options import ModelArgument
from galenic.cli.output import PlainConsole, echo

if TYPE_CHECKING:
    from galenic.recipes.plan import Prediction, RecipePlan
    from galenic.watcher import Watcher

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Show which recipe fits a device: file size, memory and speed of each, predicted from the "
    "model's shapes and a short timing of this machine; no weights are read. With --measure, the "
    "recommended model is made and measured beside its prediction."
)
EXAMPLES = """
**Examples**

`galenic plan smollm2-135m --ram 8GB`

`galenic plan ./my-model --ram 2GB --disk 500MB --min-speed 10`

`galenic plan ./my-model --ram 8GB --measure --data DIR -o dose/`
"""
DEFAULT_CONTEXT = 2048


def command(
    model: ModelArgument,
    *,
    ram: Annotated[
        str | None,
        typer.Option(help="Memory available to the running model: 8GB, 512MiB ..."),
    ] = None,
    disk: Annotated[str | None, typer.Option(help="Maximum size of its file.")] = None,
    min_speed: Annotated[
        float | None, typer.Option(min=0, help="Minimum speed, in generated tokens per second.")
    ] = None,
    context: Annotated[
        int,
        typer.Option(min=1, help="Context length to plan for, in tokens; at most the model's own."),
    ] = DEFAULT_CONTEXT,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Compute threads; default: chosen from the machine's load."),
    ] = None,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe/--no-probe",
            help="Time the block types on this machine (a few seconds each). Without it, neither "
            "memory nor speed is predicted, and a recipe for fast types is read as for any type.",
        ),
    ] = True,
    measure: Annotated[
        bool, typer.Option("--measure", help="Make the recommended model and measure it.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="With --measure: folder to create.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            envvar="GALENIC_DATA", help="With --measure: folder with medquad/, to calibrate on."
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="With --measure: your own text to calibrate on.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Say which recipe fits a device."""
    from galenic.artifact.manifest import check_new
    from galenic.cli.progress import watched
    from galenic.errors import UserError
    from galenic.recipes.plan import Device, PlanSettings
    from galenic.units import parse_size

    device = Device(
        None if ram is None else parse_size(ram, "--ram"),
        None if disk is None else parse_size(disk, "--disk"),
        min_speed,
    )
    if min_speed is not None and not probe:
        raise UserError("--min-speed needs a timing of this machine: leave --no-probe out.")
    if measure != (output is not None):
        raise UserError("--measure and -o FOLDER belong together: give both, or neither.")
    if output is not None:
        check_new(output)
        if data is None and text is None:
            raise UserError("--measure calibrates on text: give --data DIR or --text FILE.")
    from galenic.models.load import resolve_model
    from galenic.recipes.plan import make_plan, measure_made

    measured = None
    with watched("") as watcher:
        settings = PlanSettings(context, threads, probe)
        plan, short = make_plan(resolve_model(model), device, settings, watcher)
        if output is not None:
            best = _recommended(plan)
            _make(model, best.recipe, output, (data, text), watcher)
            measured = measure_made(output, plan.threads, watcher)
    if as_json:
        _print_json(plan, short, measured)
        return
    _print(plan)
    if measured is not None:
        _print_measured(short[_recommended(plan).recipe], measured)


def _recommended(plan: RecipePlan) -> Prediction:
    from galenic.errors import UserError

    if plan.recommended is None:
        raise UserError(
            "no recipe fits, so no model was made. Without --measure, the plan says why."
        )
    return plan.recommended


def _make(
    model: str, recipe: str, output: Path, texts: tuple[str | None, str | None], watcher: Watcher
) -> None:
    from galenic.recipes.recipe import read_recipe
    from galenic.recipes.run import CompressJob, compress

    compress(CompressJob(model, read_recipe(recipe), *texts), output, watcher)


def _print_json(
    plan: RecipePlan, short: dict[str, Prediction], measured: dict[str, float] | None
) -> None:
    import json
    from dataclasses import asdict

    found = asdict(plan) | {"recommended": plan.recommended and plan.recommended.recipe}
    if measured is not None and plan.recommended is not None:
        predicted = asdict(short[plan.recommended.recipe])
        found["measured"] = {
            name: {"predicted": predicted[name], "measured": value}
            for name, value in measured.items()
        }
    echo(json.dumps(found, indent=1, ensure_ascii=False))


COLUMNS = (
    "bits: bits a weight; blocks: share of the blocks' weights that is kept; vocab: tokens of the "
    "vocabulary that are kept."
)


def _print(plan: RecipePlan) -> None:
    from rich.table import Table
    from rich.text import Text

    from galenic.recipes.plan import RULE

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold underline")
    table.add_column("recipe", no_wrap=True)
    for title in ("file", "memory", "tokens/s", "bits", "blocks", "vocab"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("fits")
    for row in plan.rows:
        fits = "no: " + ", ".join(row.misses) if row.misses else "yes"
        if row is plan.recommended:
            fits = "[bold]recommended[/]"
        table.add_row(Text(row.recipe), *_cells(row), fits)
    console = PlainConsole(highlight=False, width=None if sys.stdout.isatty() else 110)
    console.print(table)
    console.print(COLUMNS, markup=False)
    for name, why in plan.unsuited.items():
        console.print(f"{name} is left out: {why}", markup=False)
    console.print(_notes(plan), markup=False)
    console.print(RULE, markup=False)
    if plan.recommended is None:
        console.print("None fits: the last column says why.", markup=False)
    else:
        name = plan.recommended.recipe
        made = f"galenic compress {plan.model} --recipe {name} --data DIR -o dose/"
        console.print(f"To make it: {made}", markup=False)


def _cells(row: Prediction) -> list[str]:
    from galenic.units import format_size

    peak = "not timed" if row.peak_bytes is None else format_size(row.peak_bytes)
    speed = "not timed" if row.tokens_per_second is None else f"{row.tokens_per_second:.1f}"
    bits = f"{row.bits_per_weight:.2f}"
    sizes = [format_size(row.file_bytes), peak, speed, bits]
    return [*sizes, f"{row.blocks_kept:.0%}", f"{row.vocab_size:,}"]


def _notes(plan: RecipePlan) -> str:
    from galenic.units import format_threads

    said = "All numbers are predicted. Sizes follow from the shapes; how many tokens text uses and "
    said += "which types a mix takes are known only once the text has been read."
    if plan.threads is not None:
        threads = format_threads(plan.threads)
        said += (
            f" Memory is for {plan.context:,} tokens of conversation, with Python and libraries; "
            f"speed for a short one, by timings of this machine as it is now ({threads})."
        )
    return said


def _print_measured(predicted: Prediction, measured: dict[str, float]) -> None:
    from galenic.recipes.probe import CONTEXT
    from galenic.units import format_size

    echo(f"Made {predicted.recipe}; predicted and measured, with {CONTEXT} tokens:")
    for name, label in (
        ("file_bytes", "file"),
        ("peak_bytes", "memory"),
        ("tokens_per_second", "tokens/s"),
    ):
        said, found = getattr(predicted, name), measured[name]
        show = "{:.1f}".format if name == "tokens_per_second" else format_size
        before = "not predicted" if said is None else f"{show(said)} ({said / found - 1:+.0%})"
        echo(f"  {label}: {before}, measured {show(found)}")
