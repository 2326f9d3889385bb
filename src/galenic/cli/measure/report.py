"""``galenic report``: tables, plots and one page from finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galenic.cli.options import RunsArgument

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Write the report of one or several runs: report.html (one page that needs nothing else), "
    "report.md and report.json. Of a study also a model card for each of its models."
)
EXAMPLES = """\
**Examples**

`galenic report runs/smollm2-135m-1f3a`

`galenic report runs/dense runs/compressed -o comparison`

`galenic report runs/paper`   (a study)
"""


def command(
    runs: RunsArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder of the report; default: `report` inside the first run.",
            show_default=False,
        ),
    ] = None,
    examples: Annotated[
        int,
        typer.Option(
            min=0,
            help="Right and as many wrong questions shown of each row; 0 keeps all question text "
            "out of a page that is to be published.",
        ),
    ] = 3,
) -> None:
    """Write the report of runs."""
    from galenic.errors import UserError
    from galenic.reports.runs import load_runs
    from galenic.reports.write import write_report, write_study_report
    from galenic.study.store import is_study

    if any(map(is_study, runs)):
        if len(runs) > 1:
            raise UserError("a study is reported on by itself: name its folder alone.")
        for path in write_study_report(runs[0], output or runs[0] / "report"):
            typer.echo(path)
        return
    loaded = load_runs(runs)
    for run in loaded:
        if not run.complete:
            typer.echo(
                f"{run.folder} is incomplete: {len(run.records)} of {run.num_planned} answers. "
                "The report says so.",
                err=True,
            )
    for path in write_report(loaded, output or runs[0] / "report", examples=examples):
        typer.echo(path)
