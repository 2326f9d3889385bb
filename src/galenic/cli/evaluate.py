"""``galenic evaluate``: a model, benchmarks, one command, one report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from galenic.cli.flags import parse_config, with_flags
from galenic.evaluate.config import EvaluateConfig

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Measure a model on medical benchmarks: accuracy with intervals, histogram, calibration. "
    "Stop it at any time; the same command goes on where it was."
)
EXAMPLES = """
**Examples**

`galenic evaluate smollm2-135m --data sample`

`galenic evaluate smollm2-135m --benchmarks pubmedqa,medqa,medmcqa --data DIR --limit 300`

`galenic evaluate ./my-model --benchmarks my_exam.jsonl --debias permutations`

`galenic evaluate model.gguf --benchmarks medmcqa --scoring generate --data DIR`
"""


@with_flags(EvaluateConfig)
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
    **knobs: Any,
) -> None:
    """Evaluate a model."""
    from rich.console import Console

    from galenic.cli.progress import ConsoleWatcher
    from galenic.evaluate.run import default_folder, evaluate
    from galenic.report.runs import load_run
    from galenic.report.terminal import summary_table

    config = parse_config(EvaluateConfig, knobs)
    folder = output or default_folder(config)
    typed = shlex.join(["galenic", *sys.argv[1:]])
    try:
        with ConsoleWatcher() as watcher:
            outcome = evaluate(config, folder, watcher, typed)
    except KeyboardInterrupt:
        typer.echo(f"\nstopped. Nothing is lost: the same command goes on with {folder}.", err=True)
        raise typer.Exit(130) from None
    out = Console() if sys.stdout.isatty() else Console(width=110)
    out.print(summary_table(load_run(outcome.folder)))
    typer.echo(f"records: {outcome.folder}    report: galenic report {outcome.folder}")
