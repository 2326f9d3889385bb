"""``galenic evaluate``: a model, benchmarks, one command, one report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from galenic.cli.flags import parse_config, with_flags
from galenic.cli.output import PlainConsole, echo
from galenic.errors import UserError
from galenic.evaluation.config import EvaluateConfig

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Measure a model on medical benchmarks: accuracy with intervals, histogram, calibration. An "
    "interrupted run resumes when the same command is run again."
)
EXAMPLES = """
**Examples**

`galenic evaluate smollm2-135m --data sample`

`galenic evaluate smollm2-135m --benchmarks pubmedqa,medqa,medmcqa --data DIR --limit 300`

`galenic evaluate ./my-model --benchmarks my_exam.jsonl --debias permutations`

`galenic evaluate ./my-model --benchmarks exam.csv --map question=stem,answer=key`

`galenic evaluate ./my-model --benchmarks exam.xlsx --answers-are numbers` answers count from 1

`galenic evaluate model.gguf --benchmarks medmcqa --scoring generate --data DIR`

`galenic evaluate small.gguf --speed --against model.gguf -o speed.json`
"""


SPEED = "With --speed"
"""Group of the options that only a measurement of speed has."""

FIRST = ("model", "benchmarks", "data", "limit", "scoring", "debias", "runtime", "threads")


@with_flags(EvaluateConfig, first=FIRST)
def command(
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder of the run; default: runs/<model>-<hash of the settings>.",
            show_default=False,
        ),
    ] = None,
    speed: Annotated[
        bool,
        typer.Option(
            "--speed",
            help="Measure speed and memory instead: prefill and decode tokens/s, time to first "
            "token, peak RSS (mapped weights included). Only --runtime, --dtype, --threads and -o "
            "(then a JSON file) apply.",
        ),
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            help="Model to alternate with; default: the parent named by the model's "
            "manifest; `none` for none.",
            rich_help_panel=SPEED,
            show_default=False,
        ),
    ] = None,
    prompt_tokens: Annotated[
        int, typer.Option(min=8, help="Prompt length in tokens.", rich_help_panel=SPEED)
    ] = 256,
    new_tokens: Annotated[
        int, typer.Option(min=2, help="Number of generated tokens.", rich_help_panel=SPEED)
    ] = 64,
    rounds: Annotated[
        int,
        typer.Option(min=1, help="Timings of each model, alternating.", rich_help_panel=SPEED),
    ] = 5,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON instead of a table.")
    ] = False,
    **options: Any,
) -> None:
    """Evaluate a model."""
    config = parse_config(EvaluateConfig, options)
    if speed:
        from galenic.cli.measure.speed import show_speed

        own = {"against": against, "prompt_tokens": prompt_tokens, "new_tokens": new_tokens}
        show_speed(config, own | {"rounds": rounds}, output, as_json=as_json)
        return
    if (against, prompt_tokens, new_tokens, rounds) != (None, 256, 64, 5):
        raise UserError(
            "--against, --prompt-tokens, --new-tokens and --rounds need --speed. "
            "To compare accuracies, evaluate both models and run `galenic compare`."
        )

    from galenic.cli.progress import watched
    from galenic.evaluation.run import default_folder, evaluate
    from galenic.reports.document import build_report
    from galenic.reports.meaning import meaning_of_rows
    from galenic.reports.rows import build_rows
    from galenic.reports.runs import load_run
    from galenic.reports.terminal import summary_table

    folder = output or default_folder(config)
    typed = shlex.join(["galenic", *sys.argv[1:]])
    left = f"Nothing is lost: run the same command again to resume {folder}."
    with watched(left, estimate=False) as watcher:  # the run itself says how long it takes
        outcome = evaluate(config, folder, watcher, typed)
    out = PlainConsole() if sys.stdout.isatty() else PlainConsole(width=110)
    run = load_run(outcome.folder)
    if as_json:
        echo(build_report([run]).model_dump_json(indent=1))
        return
    out.print(summary_table(run))
    for line in meaning_of_rows(build_rows(run)):
        echo(f"What this means: {line}")
    echo(f"records: {outcome.folder}    report: galenic report {outcome.folder}")
