"""``galenic baseline``: what always giving the commonest answer scores on each split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from galenic.cli.options import DataOption
from galenic.cli.output import PlainConsole, echo

if TYPE_CHECKING:
    from rich.table import Table

    from galenic.evaluation.baseline import BaselineRow

__all__ = ["EXAMPLES", "HELP", "command"]

HELP = (
    "Score the majority class of every split: the accuracy a model has to beat before its own "
    "means anything. No model is run."
)
EXAMPLES = """\
**Examples**

`galenic baseline --data DIR`

`galenic baseline --data DIR --json` JSON, for programs
"""


def command(
    data: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Score the majority class of every split."""
    from galenic.data.sources import open_source
    from galenic.evaluation.baseline import baseline_rows

    rows, missing = baseline_rows(open_source(data))
    if as_json:
        _print_json(rows, missing)
        return

    console = PlainConsole()
    console.print(_table(rows))
    for note in _notes(rows, missing):
        console.print(note, markup=False, highlight=False)


def _print_json(rows: list[BaselineRow], missing: list[str]) -> None:
    import json
    from dataclasses import asdict

    from galenic.evaluation.baseline import reproduces_paper

    table = [{**asdict(row), "reproduces_paper": reproduces_paper(row)} for row in rows]
    echo(json.dumps({"rows": table, "missing": missing}, indent=2))


def _table(rows: list[BaselineRow]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from galenic.evaluation.baseline import reproduces_paper

    # Narrow on purpose: it fits 80 columns, the width of a pipe.
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold underline")
    table.add_column("benchmark", no_wrap=True)
    for name in ("n", "always", "acc", "prec", "rec", "F1", "macroF1", "uniform", "paper"):
        table.add_column(name, justify="center" if name == "always" else "right", no_wrap=True)
    marks = {True: "same", False: "[red]differs[/]", None: "–"}
    for row in rows:
        numbers = (*row.paper_columns, row.macro_f1, row.uniform)
        table.add_row(
            Text(f"{row.benchmark} {row.split}"),
            str(row.n),
            Text(row.majority),
            *(f"{value:.4f}".removeprefix("0") for value in numbers),
            marks[reproduces_paper(row)],
        )
    return table


def _notes(rows: list[BaselineRow], missing: list[str]) -> list[str]:
    from galenic.evaluation.baseline import PAPER_PUBMEDQA

    notes = [
        "prec, rec and F1 are support-weighted; macro F1 is the plain mean over all options; "
        "uniform is a random guess.",
    ]
    if any(row.benchmark == "pubmedqa" for row in rows):
        numbers = " ".join(f"{value:.4f}" for value in PAPER_PUBMEDQA)
        notes.append(
            '"paper": table 2 of "Prescription for Efficiency" (Bush et al.): its MedQA row is the '
            "5-option dev split, its MedMCQA row the validation split. Its PubMedQA row "
            f"({numbers}) comes from some 200 questions of its own and is not the official test's."
        )
    if missing:
        notes.append(f"Not in this folder: {', '.join(missing)}.")
    return notes
