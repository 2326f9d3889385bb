"""What ``galenic evaluate --speed`` does and prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.cli.flags import parse_config
from galenic.cli.numbers import check_file, show_numbers
from galenic.cli.output import PlainConsole
from galenic.errors import UserError
from galenic.evaluation.config import EvaluateConfig, SpeedConfig
from galenic.units import format_threads

if TYPE_CHECKING:
    from galenic.evaluation.throughput import Throughput

__all__ = ["show_speed"]

SHARED = ("model", "runtime", "dtype", "threads")
LABELS = {
    "prefill": ("prefill, tokens/s", 1.0),
    "decode": ("decode, tokens/s", 1.0),
    "first_token_ms": ("first token, ms", 1.0),
    "peak_rss": ("peak RSS, MB", 1e-6),
}


def show_speed(
    evaluate: EvaluateConfig, own: dict[str, Any], output: Path | None, *, as_json: bool
) -> None:
    """Measure, print a table or JSON, and write the JSON where asked.

    Raises:
        UserError: a flag that has nothing to do with speed was given.
    """
    from galenic.cli.progress import watched
    from galenic.evaluation.parent import find_reference
    from galenic.evaluation.throughput import measure_speed
    from galenic.models.load import resolve_model

    for name, field in EvaluateConfig.model_fields.items():
        # --data may come from the environment
        if name not in (*SHARED, "data") and getattr(evaluate, name) != field.default:
            raise UserError(
                f"--{name.replace('_', '-')} changes nothing with --speed: leave it out."
            )
    check_file(output)
    if output is not None and output.is_dir():
        raise UserError(f"-o {output} is a folder; with --speed it names a JSON file.")
    config = parse_config(SpeedConfig, {n: getattr(evaluate, n) for n in SHARED} | own)
    with watched("Nothing was written.") as watcher:
        model = resolve_model(config.model)
        found = measure_speed(model, find_reference(model, config.against), config, watcher)
    show_numbers(found, _print, output, as_json=as_json)


def _print(found: Throughput) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold underline")
    for title in ("", "model", "against", "ratio"):
        table.add_column(title, justify="right" if title else "left")
    for name, (label, scale) in LABELS.items():
        cells = [_cell(found.model.measures[name], scale, 1)]
        if found.reference is not None and found.ratios is not None:
            cells += [_cell(found.reference.measures[name], scale, 1)]
            cells += [_cell(found.ratios[name], 1, 3)]
        table.add_row(label, *cells)
    console = PlainConsole(highlight=False, width=None if sys.stdout.isatty() else 110)
    for title, side in (("model", found.model), ("against", found.reference)):
        if side is not None:
            console.print(
                f"{title}: {side.model}  ({side.weights}, {side.runtime} runtime, prompt of "
                f"{side.prompt_tokens} tokens)",
                markup=False,
            )
    console.print(table)
    console.print(
        f"median [least, most] of {found.rounds} rounds in turns, each the best of 3 passes in "
        "a process of its own; "
        f"{found.new_tokens} new tokens, {format_threads(found.num_threads)}. Peak RSS is of the "
        "whole process: Python, libraries, and the pages of weights mapped from the file.",
        markup=False,
    )


def _cell(spread: Any, scale: float, digits: int) -> str:
    numbers = (f"{x * scale:.{digits}f}" for x in (spread.median, spread.low, spread.high))
    value, low, high = numbers
    return f"{value} \\[{low}, {high}]"
