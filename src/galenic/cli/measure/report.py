"""``galenic report``: tables, plots and one page from finished runs."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from galenic.cli.options import RunsArgument
from galenic.cli.output import echo

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Write the report of one or several runs: report.html (a self-contained page), report.md and "
    "report.json. For a study, also a model card for each of its models."
)
EXAMPLES = """\
**Examples**

`galenic report runs/smollm2-135m-1f3a`

`galenic report runs/dense runs/compressed -o comparison`

`galenic report runs/paper` for a study
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
            help="Examples shown per row: this many right and this many wrong answers; 0 omits "
            "all question text, for a page to be published.",
        ),
    ] = 3,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the written files as JSON.")
    ] = False,
) -> None:
    """Write the report of runs."""
    from galenic.reports.write import report_on

    told = partial(echo, err=True)
    folder = output or runs[0] / "report"
    paths = report_on(runs, folder, examples=examples, told=told)
    if as_json:
        echo(json.dumps({"files": [str(path) for path in paths]}, ensure_ascii=False))
        return
    for path in paths:
        echo(path)
