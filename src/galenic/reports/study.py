"""The report of a study as data: table, changes by each step, and error analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.evaluation.compare import (
    ALL,
    Pair,
    PairedResult,
    compare_pairs,
    pair_records,
    pool_groups,
)
from galenic.evaluation.failures import KindErrors, errors_by_kind, errors_by_subject
from galenic.reports.rows import Row, build_rows
from galenic.reports.runs import Item, LoadedRun, load_run
from galenic.study.graph import Cell
from galenic.study.store import RESULT, NodeFolder, StudyFolder

__all__ = [
    "SIGNIFICANT",
    "Answers",
    "Changed",
    "Changes",
    "Explained",
    "StudyReport",
    "TableRow",
    "build_study_report",
]

SHOWN = 3
"""Number of newly broken questions, and of newly fixed ones, shown per step."""
SIGNIFICANT = 0.05
"""Comparisons with a smaller p-value are marked."""


@dataclass(frozen=True)
class Answers:
    """Results of one model on one benchmark with one scoring.

    Attributes:
        row: all measures.
        versus: comparison with the uncompressed model; None for that model itself.
        kinds: errors by kind of question.
        subjects: errors by subject, if the data names them.
    """

    row: Row
    versus: PairedResult | None
    kinds: list[KindErrors]
    subjects: list[KindErrors]


@dataclass(frozen=True)
class Changed:
    """A question whose answer was changed by a step."""

    id: str
    benchmark: str
    question: str
    options: dict[str, str]
    gold: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Changes:
    """Questions that a step newly broke or fixed, compared with its input model.

    Attributes:
        parent: title of the input model.
        scoring: scoring of the answers.
        compared: comparison on all benchmarks together.
        broke, fixed: numbers of questions.
        shown: some of these questions, broken ones first.
    """

    parent: str
    scoring: str
    compared: PairedResult
    broke: int
    fixed: int
    shown: list[Changed]


@dataclass(frozen=True)
class Explained:
    """Text that a model generated when asked to reason about a question.

    Attributes:
        prediction: None if no answer could be parsed.
    """

    benchmark: str
    question: str
    gold: str
    prediction: str | None
    text: str


@dataclass(frozen=True)
class TableRow:
    """One model in the table.

    Attributes:
        cell: the model and its nodes.
        size: ``file_bytes``, ``bits_per_weight``, ``parameters``; None if not made yet.
        answers: results by (benchmark, scoring).
        pooled: comparison with the uncompressed model on all benchmarks together, by scoring.
        perplexity, speed: measurements; None if missing.
        changes: changes relative to the previous step, one entry per scoring.
        explained: generated reasoning on some questions.
        missing: titles of unfinished nodes.
        problems: error messages of failed nodes.
    """

    cell: Cell
    size: dict[str, Any] | None
    answers: dict[tuple[str, str], Answers]
    pooled: dict[str, PairedResult]
    perplexity: dict[str, Any] | None
    speed: dict[str, Any] | None
    changes: list[Changes]
    explained: list[Explained]
    missing: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class StudyReport:
    """Contents of the report of a study.

    Attributes:
        facts: from ``study.json``: name, description, command, settings, versions, baselines,
            sizes.
        rows: the table, uncompressed models first.
        scorings: names in the study's order.
        benchmarks: titles by name.
    """

    facts: dict[str, Any]
    rows: list[TableRow]
    scorings: list[str]
    benchmarks: dict[str, str]

    @property
    def complete(self) -> bool:
        """Whether all nodes are finished."""
        return not any(row.missing for row in self.rows)

    def name_of(self, row: TableRow) -> str:
        """Return the row's title, preceded by the model if the study has several."""
        several = len({one.cell.model for one in self.rows}) > 1
        return f"{row.cell.model}: {row.cell.title}" if several else row.cell.title

    @property
    def many_tests(self) -> str:
        """Note on multiple testing: how many marks to expect by chance."""
        every = [answers.versus for row in self.rows for answers in row.answers.values()]
        tests = sum(one is not None for one in every)
        return f"Of {tests} comparisons about {SIGNIFICANT * tests:.0f} get a mark by chance alone."


def build_study_report(folder: Path) -> StudyReport:
    """Build the report of a study, finished or not.

    Raises:
        UserError: the folder has no study, or none of its nodes is finished.
    """
    store = StudyFolder(folder)
    facts, cells = store.read(), store.cells()
    runs = {id(cell): _runs(store, cell) for cell in cells}
    if not any(runs.values()):
        raise UserError(f"{folder}: no question has been answered yet; run the study first.")
    dense = {cell.model: cell for cell in cells if cell.made_by is None}
    rows = []
    for cell in cells:
        own, base = runs[id(cell)], dense.get(cell.model)
        others = runs[id(base)] if base is not None and base is not cell else {}
        before = _step_before(cell, cells, facts["nodes"])
        changes = [] if before is None else _changes(before, runs[id(before)], own)
        rows.append(_row(store, facts, cell, own, others, changes))
    rows = [replace(row, speed=row.speed or _speed_beside(row, rows)) for row in rows]
    titles = {
        run.info.data[0].benchmark: run.info.data[0].title or run.info.data[0].benchmark
        for found in runs.values()
        for run in found.values()
    }
    return StudyReport(
        facts={key: value for key, value in facts.items() if key not in ("nodes", "cells")},
        rows=rows,
        scorings=list(facts["evaluate"]["scoring"]),
        benchmarks=titles,
    )


def _speed_beside(row: TableRow, rows: Sequence[TableRow]) -> dict[str, Any] | None:
    """Speed of an uncompressed model: median of its timings as a reference of others."""
    if row.cell.made_by is not None:
        return None
    beside = [
        other.speed["reference"]
        for other in rows
        if other.cell.model == row.cell.model and other.speed and other.speed["reference"]
    ]
    beside.sort(key=lambda found: float(found["measures"]["decode"]["median"]))
    return {"model": beside[len(beside) // 2], "ratios": None} if beside else None


def _runs(store: StudyFolder, cell: Cell) -> dict[tuple[str, str], LoadedRun]:
    """Load the finished runs of a cell, by benchmark and scoring, named like the row."""
    found = {}
    for benchmark, by_scoring in cell.answers.items():
        for scoring, node_id in by_scoring.items():
            node = store.node(node_id)
            if node.result is not None:
                run = _run_of(node)
                groups = {(record.benchmark, record.scoring) for record in run.records}
                if groups != {(benchmark, scoring)}:
                    raise UserError(
                        f"{run.folder} holds other answers than the study asked for ({benchmark}, "
                        f"{scoring})."
                    )
                found[benchmark, scoring] = replace(run, name=cell.variant)
    return found


def _run_of(node: NodeFolder) -> LoadedRun:
    """Load the run of a finished node."""
    return load_run(node.path / _part(node, "run"))


def _part(node: NodeFolder, key: str) -> Any:
    """Return a required part of a node's result."""
    result = node.result or {}
    if result.get(key) is None:
        raise UserError(f"{node.path / RESULT} is damaged: {key} is missing. Run the study again.")
    return result[key]


def _row(
    store: StudyFolder,
    facts: Mapping[str, Any],
    cell: Cell,
    own: Mapping[tuple[str, str], LoadedRun],
    dense: Mapping[tuple[str, str], LoadedRun],
    changes: list[Changes],
) -> TableRow:
    wanted = [node for by_scoring in cell.answers.values() for node in by_scoring.values()]
    wanted += [node for node in (cell.made_by, cell.perplexity, cell.speed) if node is not None]
    wanted += cell.explanations.values()
    missing = [node_id for node_id in wanted if store.node(node_id).result is None]
    failures = [(node_id, store.node(node_id).failure) for node_id in missing]
    return TableRow(
        cell=cell,
        size=_size(store, facts, cell),
        answers={key: _answers(run, dense.get(key)) for key, run in own.items()},
        pooled=_pooled(own, dense),
        perplexity=_result(store, cell.perplexity, "perplexity"),
        speed=_result(store, cell.speed, "speed"),
        changes=changes,
        explained=_explained(store, cell),
        missing=tuple(facts["nodes"][node_id]["title"] for node_id in missing),
        problems=tuple(
            f"{facts['nodes'][node_id]['title']}: {why.message}"
            for node_id, why in failures
            if why is not None
        ),
    )


def _explained(store: StudyFolder, cell: Cell) -> list[Explained]:
    found = []
    for benchmark, node_id in cell.explanations.items():
        node = store.node(node_id)
        if node.result is None:
            continue
        run = _run_of(node)
        found += [
            Explained(
                benchmark=benchmark,
                question=run.items[benchmark, record.id].question,
                gold=record.gold,
                prediction=record.prediction,
                text=record.text or "",
            )
            for record in run.records
        ]
    return found


def _result(store: StudyFolder, node_id: str | None, key: str) -> dict[str, Any] | None:
    if node_id is None or store.node(node_id).result is None:
        return None
    found: dict[str, Any] = _part(store.node(node_id), key)
    return found


def _size(store: StudyFolder, facts: Mapping[str, Any], cell: Cell) -> dict[str, Any] | None:
    if cell.made_by is None:
        found: dict[str, Any] = facts["sizes"][cell.model]
        return found
    node = store.node(cell.made_by)
    if node.result is not None:
        _part(node, "file_bytes")
    return node.result


def _answers(run: LoadedRun, dense: LoadedRun | None) -> Answers:
    [row] = build_rows(run)
    questions = [(run.items[record.benchmark, record.id], record) for record in run.records]
    compared = None
    if dense is not None:
        [pairs] = pair_records(dense.records, run.records).groups.values()
        compared = compare_pairs(pairs)
    return Answers(row, compared, errors_by_kind(questions), errors_by_subject(questions))


def _pairs(
    before: Mapping[tuple[str, str], LoadedRun], after: Mapping[tuple[str, str], LoadedRun]
) -> dict[tuple[str, ...], list[Pair]]:
    found: dict[tuple[str, ...], list[Pair]] = {}
    for key in after:
        if key in before:
            found |= pair_records(before[key].records, after[key].records).groups
    return found


def _pooled(
    own: Mapping[tuple[str, str], LoadedRun], dense: Mapping[tuple[str, str], LoadedRun]
) -> dict[str, PairedResult]:
    groups = _pairs(dense, own)
    if len({benchmark for benchmark, _ in dense}) > 1:
        groups = pool_groups(groups)  # of a single benchmark there is nothing to pool
    return {scoring: compare_pairs(pairs, ALL) for (_, scoring, _), pairs in groups.items()}


def _step_before(cell: Cell, cells: Sequence[Cell], nodes: Mapping[str, Any]) -> Cell | None:
    """Return the cell of the nearest earlier step of this model; None if there is none."""
    if cell.made_by is None:
        return None
    made = {other.made_by: other for other in cells if other.model == cell.model}
    [at] = nodes[cell.made_by]["needs"] or [None]
    while at is not None and at not in made:
        [at] = nodes[at]["needs"] or [None]
    return made.get(at)


def _changes(
    before: Cell,
    parent: Mapping[tuple[str, str], LoadedRun],
    own: Mapping[tuple[str, str], LoadedRun],
) -> list[Changes]:
    groups = _pairs(parent, own)
    items: dict[tuple[str, str], Item] = {}
    for run in own.values():
        items |= run.items
    by_scoring: dict[str, list[Pair]] = {}
    for (_, scoring, _), pairs in groups.items():
        by_scoring.setdefault(scoring, []).extend(pairs)
    return [
        Changes(
            parent=before.title,
            scoring=scoring,
            compared=(compared := compare_pairs(pairs, ALL)),
            broke=len(compared.a_wins),
            fixed=len(compared.b_wins),
            shown=[
                *_shown([pair for pair in pairs if pair[0].correct > pair[1].correct], items),
                *_shown([pair for pair in pairs if pair[0].correct < pair[1].correct], items),
            ],
        )
        for scoring, pairs in by_scoring.items()
    ]


def _shown(pairs: Sequence[Pair], items: Mapping[tuple[str, str], Item]) -> list[Changed]:
    found = []
    for before, after in pairs[:SHOWN]:
        item = items[before.benchmark, before.id]
        found.append(
            Changed(
                id=before.id,
                benchmark=before.benchmark,
                question=item.question,
                options=dict(item.options),
                gold=before.gold,
                before=before.prediction,
                after=after.prediction,
            )
        )
    return found
