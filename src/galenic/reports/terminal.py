"""The result table printed by ``galenic evaluate``."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from galenic.reports.rows import Row, build_rows
from galenic.reports.runs import LoadedRun
from galenic.reports.text import model_name, proportion, span, spark

__all__ = ["summary_table"]

DEBIAS = {"none": "", "permutations": "perm.", "prior": "prior"}
"""Short names for the debias column."""
BASELINE_STYLE = {"above": "green", "at": "", "below": "yellow"}
"""Style of the accuracy, by the position of its interval relative to the majority baseline."""


def summary_table(run: LoadedRun) -> Table:
    """Build a table of accuracy with its 95 % interval, majority baseline and predictions.

    Fits 80 columns, long rows on two lines. Accuracy is green where its paired interval lies above
    the majority baseline and plain where chance explains it; a collapse is red.
    """
    rows = build_rows(run)
    missing = "" if run.complete else f", incomplete: {len(run.records)} of {run.num_planned}"
    model = run.info.model
    table = Table(
        box=None,
        padding=(0, 1, 0, 0),
        header_style="bold underline",
        title=Text(f"{model_name(model.model)} ({model.weights}){missing}", style="bold"),
        title_justify="left",
        caption=Text("acc: accuracy, 95 %: its interval, maj: majority baseline, mF1: macro F1"),
        caption_justify="left",
    )
    debiased = any(row.debias != "none" for row in rows)
    for name in ("benchmark", "scoring", *(["debias"] if debiased else [])):
        table.add_column(name, no_wrap=True)
    for name in ("n", "acc", "95 %", "maj", "mF1"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("predictions", overflow="fold")
    benchmark = scoring = ""
    for row in rows:
        new = row.benchmark != benchmark
        table.add_row(
            Text(row.benchmark if new else ""),
            row.scoring if new or row.scoring != scoring else "",
            *([DEBIAS[row.debias]] if debiased else []),
            str(row.n) if new else "",
            Text(proportion(row.accuracy), style=BASELINE_STYLE[row.baselines.against_majority]),
            span(row.low, row.high),
            proportion(row.baselines.majority),
            proportion(row.macro_f1),
            _predictions(row),
        )
        benchmark, scoring = row.benchmark, row.scoring
    return table


def _predictions(row: Row) -> Text:
    text = Text(spark(row.counts.predicted))
    if row.counts.unparsed:
        text.append(f"  {row.unparsed_rate:.0%} unparsed", style="yellow")
    if row.counts.truncated:
        text.append(f"  {row.counts.truncated} truncated", style="yellow")
    if row.collapse:
        label, share = row.collapse
        text.append(f"  COLLAPSE {share:.0%} {label}", style="bold red")
    return text
