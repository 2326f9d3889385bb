"""What the benchmark scripts read of models and runs alike."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from galenic.evaluation.compare import (
    ALL,
    Pair,
    PairedResult,
    compare_pairs,
    pair_records,
    pool_groups,
)
from galenic.reports.rows import Row, build_rows
from galenic.reports.runs import LoadedRun, load_run

__all__ = [
    "GALENIC",
    "NO_MINIMUM",
    "Silent",
    "earlier_rows",
    "inspected",
    "markdown_table",
    "paired_answers",
    "pooled_answers",
]

GALENIC = str(Path(sys.executable).with_name("galenic"))
NO_MINIMUM = "--exclude Q4_1,Q4_K,Q5_1,Q5_K"
"""The embedded model comes in Q4_1: types with a minimum give its levels back, exactly (Q4_1; Q5_1
halves the step) or nearly (Q4_K, Q5_K), and so flatter whoever uses them."""


class Silent:
    """A watcher that shows nothing."""

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None: ...
    def advance(self, done: int, note: str = "") -> None: ...
    def say(self, text: str) -> None: ...
    def keep(self, text: str) -> None: ...


def earlier_rows(output: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Rows by name of a table measured before, maybe elsewhere; none where its settings differ."""
    if not output.exists():
        return {}
    known = json.loads(output.read_text("utf-8"))
    return {fact["row"]: fact for fact in known["rows"]} if known["settings"] == settings else {}


def inspected(model: str, keys: Sequence[str]) -> dict[str, Any]:
    """These facts of `galenic inspect`."""
    done = subprocess.run(
        [GALENIC, "inspect", model, "--json"], capture_output=True, text=True, check=True
    )
    facts = json.loads(done.stdout)
    return {key: facts[key] for key in keys}


def paired_answers(runs: Path, name: str) -> Iterator[tuple[Row, PairedResult]]:
    """The rows of a run, each compared with the run ``dense``; none while one is at work."""
    if found := _paired(runs, name):
        run, pairs = found
        for row in build_rows(run):
            yield row, compare_pairs(pairs[row.benchmark, row.scoring, row.debias])


def pooled_answers(runs: Sequence[Path], name: str) -> Iterator[tuple[str, PairedResult]]:
    """The same over the questions of all benchmarks, by scoring."""
    found = [_paired(one, name) for one in runs]
    groups = {key: pairs for one in found if one for key, pairs in one[1].items()}
    if all(found):
        for (_, scoring, _), pairs in pool_groups(groups).items():
            yield scoring, compare_pairs(pairs, ALL)


def _paired(runs: Path, name: str) -> tuple[LoadedRun, dict[tuple[str, ...], list[Pair]]] | None:
    folders = [runs / which for which in (name, "dense")]
    if not all((folder / "records.jsonl").exists() for folder in folders):
        return None
    run, dense = (load_run(folder) for folder in folders)
    if any(len(one.records) < one.num_planned for one in (run, dense)):
        return None
    return run, pair_records(dense.records, run.records).groups


def markdown_table(head: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
