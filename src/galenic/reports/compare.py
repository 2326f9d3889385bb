"""Comparison of two runs, or two scorings of one run, on the questions that both answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from galenic.errors import UserError, unknown_name
from galenic.evaluation.compare import (
    Pair,
    PairedResult,
    Pairing,
    compare_pairs,
    pair_records,
    pool_groups,
    with_plain_views,
)
from galenic.evaluation.records import Record
from galenic.reports.runs import Item, LoadedRun, load_run

__all__ = ["SELECTIONS", "Compared", "compare_runs", "describe"]

SELECTIONS = ("scoring_a", "scoring_b", "debias_a", "debias_b")


@dataclass(frozen=True)
class Compared:
    """Two runs and the result of their comparison.

    Attributes:
        run_a: the reference.
        run_b: the other run.
        pairing: paired records by group.
        results: one result per group, in the same order.
    """

    run_a: LoadedRun
    run_b: LoadedRun
    pairing: Pairing
    results: Sequence[PairedResult]


def compare_runs(
    run_a: Path,
    run_b: Path | None = None,
    *,
    scoring_a: str | None = None,
    scoring_b: str | None = None,
    debias_a: str | None = None,
    debias_b: str | None = None,
) -> Compared:
    """Compare two run folders.

    Args:
        run_a: folder of the reference.
        run_b: folder of the other run; None = the same run with another selection.
        scoring_a: use only records of A with this scoring.
        scoring_b: the same for B.
        debias_a: use only records of A with this debiasing.
        debias_b: the same for B.

    Raises:
        UserError: both sides are the same, or used different versions of a benchmark.
    """
    side_a = load_run(run_a)
    same_selection = (scoring_a, debias_a) == (scoring_b, debias_b)
    if (run_b is None or run_a.resolve() == run_b.resolve()) and same_selection:
        raise UserError(
            "A and B are the same. Name a second run, or choose two scorings with --scoring-a and "
            "--scoring-b (or --debias-a and --debias-b)."
        )
    side_b = side_a if run_b is None else load_run(run_b)
    _check_versions(side_a, side_b)
    pairing = pair_records(
        _select(side_a, scoring_a, debias_a, "a"),
        _select(side_b, scoring_b, debias_b, "b"),
        match_scoring=scoring_a is None or scoring_b is None or scoring_a == scoring_b,
        match_debias=debias_a is None or debias_b is None or debias_a == debias_b,
    )
    pooled = pool_groups(pairing.groups)
    pairing = replace(pairing, groups=pairing.groups | pooled)
    results = [
        compare_pairs(pairs, name[0] if name in pooled else None)
        for name, pairs in pairing.groups.items()
    ]
    return Compared(side_a, side_b, pairing, results)


def describe(found: Compared) -> dict[str, Any]:
    """Return the comparison as JSON data: one object per group, with all discordant questions."""
    run_a, run_b, pairing, results = found.run_a, found.run_b, found.pairing, found.results
    groups = []
    for result, pairs in zip(results, pairing.groups.values(), strict=True):
        group = asdict(result)
        group["interval"] = list(result.interval)
        for name in ("a_wins", "b_wins"):
            ids = set(getattr(result, name))
            group[name] = [_question(run_a.items, pair) for pair in pairs if pair[0].id in ids]
        groups.append(group)
    return {
        "a": {"run": run_a.name, "command": run_a.info.command, "model": run_a.info.model.model},
        "b": {"run": run_b.name, "command": run_b.info.command, "model": run_b.info.model.model},
        "unpaired_a": pairing.unpaired_a,
        "unpaired_b": pairing.unpaired_b,
        "groups": groups,
    }


def _check_versions(run_a: LoadedRun, run_b: LoadedRun) -> None:
    """Refuse runs that used different versions (prompts or questions) of a benchmark."""
    versions = {entry.benchmark: entry.version for entry in run_a.info.data}
    for entry in run_b.info.data:
        if versions.get(entry.benchmark, entry.version) != entry.version:
            raise UserError(
                f"{entry.benchmark} has version {versions[entry.benchmark]} in A and "
                f"{entry.version} in B: prompts or questions differ, so their answers cannot be "
                "compared. Evaluate the older run again."
            )


def _select(run: LoadedRun, scoring: str | None, debias: str | None, side: str) -> list[Record]:
    """Select the records of one side, including undebiased versions, according to the flags."""
    records = with_plain_views(run.records)
    for name, wanted in (("scoring", scoring), ("debias", debias)):
        known = {getattr(record, name) for record in records}
        if wanted is not None and wanted not in known:
            raise unknown_name(f"--{name}-{side}, of the records in {run.folder},", wanted, known)
        if wanted is not None:
            records = [record for record in records if getattr(record, name) == wanted]
    return records


def _question(items: Mapping[tuple[str, str], Item], pair: Pair) -> dict[str, str | None]:
    a, b = pair
    return {
        "id": a.id,
        "question": items[a.benchmark, a.id].question,
        "gold": a.gold,
        "prediction_a": a.prediction,
        "prediction_b": b.prediction,
    }
