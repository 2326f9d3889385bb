"""Summary of a report in a few plain sentences, shown at its top."""

from __future__ import annotations

from collections.abc import Sequence

from galenic.evaluation.compare import PairedResult
from galenic.reports.rows import Row
from galenic.reports.study import StudyReport, TableRow
from galenic.reports.text import count, proportion, signed
from galenic.units import format_size

__all__ = ["meaning_of_rows", "meaning_of_study"]

WELL = 0.97
"""Minimum share of the original's accuracy for a model that counts as having kept it."""
KNOWS = {
    "above": "does better on {where} than always giving the commonest answer",
    "at": "is at chance on {where}: always giving the commonest answer scores as much",
    "below": "does worse on {where} than always giving the commonest answer",
}


def meaning_of_rows(rows: Sequence[Row]) -> list[str]:
    """Summarize one or several runs, one line per run.

    Args:
        rows: rows of the report, at least one.
    """
    runs = list(dict.fromkeys(row.run for row in rows))
    several = len(runs) > 1
    return [_of_run([row for row in rows if row.run == run], several) for run in runs]


def meaning_of_study(report: StudyReport) -> list[str]:
    """Summarize the most useful models of a study, one line each, then the collapsed ones.

    These are the smallest model that keeps `WELL` of the original's accuracy, and the smallest of
    all, by the first scoring. Models without results are left out.
    """
    scoring = report.scorings[0]
    made = [row for row in report.rows if scoring in row.pooled and row.size and row.cell.made_by]
    made.sort(key=lambda row: int((row.size or {})["file_bytes"]))
    well = [row for row in made if _share(row.pooled[scoring]) >= WELL]
    shown = dict.fromkeys(report.rows.index(row) for row in (*well[:1], *made[:1]))
    lines = [_kept(report, report.rows[at], report.rows[at].pooled[scoring]) for at in shown]
    if made and not well:
        lines.insert(0, f"No smaller model keeps {WELL:.0%} of the original's accuracy.")
    return lines + [
        f"On {title} nearly all answers are the same: {', '.join(names)}."
        for benchmark, title in report.benchmarks.items()
        if (names := _collapsed(report, benchmark, scoring))
    ]


def _share(found: PairedResult) -> float:
    return found.accuracy_b / found.accuracy_a if found.accuracy_a else 0.0


def _collapsed(report: StudyReport, benchmark: str, scoring: str) -> list[str]:
    asked = [(row, row.answers.get((benchmark, scoring))) for row in report.rows]
    return [
        f"{report.name_of(row)} ({found.row.collapse[0]} {found.row.collapse[1]:.0%})"
        for row, found in asked
        if found is not None and found.row.collapse
    ]


def _of_run(rows: Sequence[Row], named: bool) -> str:
    """Write one sentence on accuracy and one on each collapse."""
    places: dict[str, list[str]] = {}
    many = len({row.method for row in rows}) > 1
    for row in rows:
        where = f"{_title(row)} ({row.method})" if many else _title(row)
        places.setdefault(row.baselines.against_majority, []).append(where)
    parts = [
        words.format(where=_listed(places[kind])) for kind, words in KNOWS.items() if kind in places
    ]
    said = [f"{rows[0].run if named else 'The model'} {'; it '.join(parts)}."]
    collapsed = dict.fromkeys(
        f"{row.collapse[0]} on {_title(row)} ({row.collapse[1]:.0%})"
        for row in rows
        if row.collapse
    )
    if collapsed:
        said.append(
            f"To nearly everything it answers {_listed([*collapsed])}: there the accuracy is only "
            "the share of that answer."
        )
    return " ".join(said)


def _kept(report: StudyReport, row: TableRow, found: PairedResult) -> str:
    size = f" ({format_size(row.size['file_bytes'])})" if row.size else ""
    low, high = found.interval
    return (
        f"{report.name_of(row)}{size} keeps {_share(found):.0%} of the original's accuracy: "
        f"{proportion(found.accuracy_b)} of {proportion(found.accuracy_a)} on {count(found.n)} "
        f"questions (difference {signed(found.difference)}, 95 % {signed(low)} to {signed(high)})."
    )


def _title(row: Row) -> str:
    return row.title.replace(", ", " ")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
