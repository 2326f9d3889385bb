"""Summary of a report in a few plain sentences, shown at its top."""

from __future__ import annotations

from collections.abc import Sequence

from galenic.evaluation.compare import PairedResult
from galenic.reports.rows import Row
from galenic.reports.study import StudyReport, TableRow
from galenic.reports.text import count, percent, proportion, signed
from galenic.units import format_size

__all__ = ["clearest_scoring", "meaning_of_card", "meaning_of_rows", "meaning_of_study"]

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
    all, by the clearest scoring. Models without results are left out.
    """
    scoring = clearest_scoring(report)
    made = [row for row in report.rows if scoring in row.pooled and row.size and row.cell.made_by]
    made.sort(key=lambda row: int((row.size or {})["file_bytes"]))
    well = [row for row in made if _share(row.pooled[scoring]) >= WELL]
    shown = dict.fromkeys(report.rows.index(row) for row in (*well[:1], *made[:1]))
    knows = _knows_anything(report, scoring)
    lines = [_kept(report, report.rows[at], scoring, knows) for at in shown]
    if made and not well:
        lines.insert(0, f"No smaller model keeps {percent(WELL)} of the original's accuracy.")
    if made and not knows:
        lines.insert(0, "The original model is at chance here, so there is no knowledge to keep.")
    if made and len(report.scorings) > 1:
        lines[0] = f"By the scoring {scoring}: {lines[0][0].lower()}{lines[0][1:]}"
    return lines + _collapsed(report, scoring)


def meaning_of_card(report: StudyReport, row: TableRow) -> str:
    """Summarize one model of a study in a sentence, by the clearest scoring."""
    scoring = clearest_scoring(report)
    if row.cell.made_by is None:
        return "The original model, with which the others are compared."
    if scoring not in row.pooled:
        return "This model has not been measured on all benchmarks."
    return _kept(report, row, scoring, _knows_anything(report, scoring))


def clearest_scoring(report: StudyReport) -> str:
    """Return the scoring by which the fewest answers collapsed, the first of several."""

    def collapsed(scoring: str) -> int:
        found = [
            row.answers.get((one, scoring)) for row in report.rows for one in report.benchmarks
        ]
        return sum(one is not None and one.row.collapse is not None for one in found)

    return min(report.scorings, key=collapsed)


def _knows_anything(report: StudyReport, scoring: str) -> bool:
    """Whether an uncompressed model beats the commonest answer anywhere; True if there is none."""
    dense = [row for row in report.rows if row.cell.made_by is None]
    found = [row.answers[key] for row in dense for key in row.answers if key[1] == scoring]
    return not found or any(_stands(one.row) == "above" for one in found)


def _share(found: PairedResult) -> float:
    return found.accuracy_b / found.accuracy_a if found.accuracy_a else 0.0


def _collapsed(report: StudyReport, scoring: str) -> list[str]:
    """One line: on which benchmarks how many models give nearly one answer."""
    parts = []
    for benchmark, title in report.benchmarks.items():
        asked = [
            found.row for row in report.rows if (found := row.answers.get((benchmark, scoring)))
        ]
        labels = dict.fromkeys(row.collapse[0] for row in asked if row.collapse)
        number = sum(row.collapse is not None for row in asked)
        if number:
            parts.append(f"{number} of {len(asked)} on {title} ({', '.join(labels)})")
    if not parts:
        return []
    return [f"Models that give nearly the same answer to everything: {'; '.join(parts)}."]


def _of_run(rows: Sequence[Row], named: bool) -> str:
    """Write one sentence on accuracy and one on what collapsed.

    A benchmark counts by the scoring that is best for it.
    """
    many = len({row.method for row in rows}) > 1
    places: dict[str, list[str]] = {}
    for title in dict.fromkeys(map(_title, rows)):
        found = {row.method: _stands(row) for row in rows if _title(row) == title}
        best = min(found.values(), key=list(KNOWS).index)
        by = [method for method, stands in found.items() if stands == best]
        only = best == "above" and len(by) < len(found)
        places.setdefault(best, []).append(f"{title} (by {_listed(by)})" if only else title)
    parts = [
        words.format(where=_listed(places[kind])) for kind, words in KNOWS.items() if kind in places
    ]
    said = f"{rows[0].run if named else 'The model'} {'; it '.join(parts)}."
    return " ".join([said, *_one_answer(rows, many)])


def _stands(row: Row) -> str:
    """Where a row stands to the majority baseline; a collapsed one is never above it."""
    stands = row.baselines.against_majority
    return "at" if row.collapse and stands == "above" else stands


def _one_answer(rows: Sequence[Row], many: bool) -> list[str]:
    """A sentence on the rows with nearly one answer, or none; scorings are named if many."""
    same: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.collapse:
            where = f"{_title(row)} ({percent(row.collapse[1])})"
            same.setdefault((row.collapse[0], row.method if many else ""), []).append(where)
    parts = [
        f"{label} on {_listed(titles)}{f' by {method}' if method else ''}"
        for (label, method), titles in same.items()
    ]
    if not parts:
        return []
    return [
        f"It gives nearly the same answer to every question, {_listed(parts)}: there the accuracy "
        "is only the share of that answer."
    ]


def _kept(report: StudyReport, row: TableRow, scoring: str, knows: bool) -> str:
    """Say what one model kept, as a share only where there was knowledge to keep."""
    found = row.pooled[scoring]
    size = f" ({format_size(row.size['file_bytes'])})" if row.size else ""
    low, high = found.interval
    kept = f"keeps {percent(_share(found))} of the original's accuracy: " if knows else "scores "
    beside = "of" if knows else "instead of"
    return (
        f"{report.name_of(row)}{size} {kept}{proportion(found.accuracy_b)} {beside} "
        f"{proportion(found.accuracy_a)} on {count(found.n)} questions "
        f"(difference {signed(found.difference)}, 95 % {signed(low)} to {signed(high)})."
    )


def _title(row: Row) -> str:
    return row.title.replace(", ", " ")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
