"""The rows of a report: all measures for each (benchmark, scoring, debias) of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from galenic.evaluation import calibration, metrics
from galenic.evaluation.compare import pair_table, paired_interval, with_plain_views
from galenic.evaluation.records import Record
from galenic.reports.runs import Item, LoadedRun
from galenic.reports.text import method

__all__ = [
    "COVERAGES",
    "Baselines",
    "Calibration",
    "ClassRow",
    "Permutation",
    "PredictionCounts",
    "Row",
    "build_rows",
    "group_of",
]

COVERAGES = (0.25, 0.5, 0.75)
"""Coverages at which selective accuracy is reported."""

CURVE_POINTS = 100


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassRow(_Part):
    """One class: precision, recall, F1, and number of gold items."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


class PredictionCounts(_Part):
    """Counts of predicted and gold labels.

    ``confusion`` has one row per gold label and one column per predicted label plus "unparsed".
    """

    labels: list[str]
    gold: dict[str, int]
    predicted: dict[str, int]
    unparsed: int
    truncated: int
    confusion: list[list[int]]


class Baselines(_Part):
    """Constant predictors on the same items; difference = accuracy - majority, paired."""

    majority_label: str
    majority: float
    difference: float
    difference_low: float
    difference_high: float
    uniform: float

    @property
    def against_majority(self) -> str:
        """Position relative to the majority baseline by the 95 % interval: above, below or at."""
        if self.difference_low > 0:
            return "above"
        return "below" if self.difference_high < 0 else "at"


class Calibration(_Part):
    """Calibration measures, which need probabilities.

    ``bins`` are (low, high, count, mean confidence, accuracy); ``curve`` is (coverage, risk),
    thinned to a hundred points; ``selective`` maps a coverage to the selective accuracy.
    """

    ece: float
    brier: float
    aurc: float
    selective: dict[str, float]
    bins: list[tuple[float, float, int, float | None, float | None]]
    curve: list[tuple[float, float]]


class Permutation(_Part):
    """Effect of rotating the options; see `galenic.evaluation.metrics.flip_rate`."""

    flip_rate: float
    items_flipped: float
    position_shares: list[float]


class Row(_Part):
    """All measures of one group of records.

    Attributes:
        run: name of the run; ``model`` and ``weights`` describe its model.
        benchmark: registry name; ``title`` is for tables; ``split`` is the split asked.
        scoring: scoring method; ``debias`` is the debiasing method.
        n: number of existing records; ``planned`` is that of a complete run.
        collapse: label that nearly all answers have, and its share; None without collapse.
        calibration: None for generated answers.
        permutation: effect of rotations; only on the undebiased row of a run with permutations.
    """

    run: str
    model: str
    weights: str
    benchmark: str
    title: str
    split: str
    scoring: str
    debias: str
    n: int
    planned: int
    accuracy: float
    low: float
    high: float
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    baselines: Baselines
    counts: PredictionCounts
    classes: list[ClassRow]
    collapse: tuple[str, float] | None
    calibration: Calibration | None
    permutation: Permutation | None

    @property
    def method(self) -> str:
        """Name of scoring and debiasing together."""
        return method(self.scoring, self.debias)

    @property
    def complete(self) -> bool:
        """Whether all planned records exist."""
        return self.n >= self.planned

    @property
    def unparsed_rate(self) -> float:
        """Share of answers from which no label could be parsed."""
        return self.counts.unparsed / self.n


def build_rows(run: LoadedRun) -> list[Row]:
    """Build the rows of a run in its own order, undebiased before debiased."""
    groups = metrics.group_records(with_plain_views(run.records))
    benchmarks = [entry.benchmark for entry in run.info.data]
    scorings = list(dict.fromkeys(group.scoring for group in groups))
    order = sorted(
        groups,
        key=lambda g: (
            benchmarks.index(g.benchmark),
            scorings.index(g.scoring),
            g.debias != "none",
        ),
    )
    return [_row(run, group, groups[group]) for group in order]


def group_of(run: LoadedRun, row: Row) -> list[Record]:
    """Return the records that a row summarizes."""
    wanted = metrics.Group(row.benchmark, row.scoring, row.debias)
    return metrics.group_records(with_plain_views(run.records))[wanted]


def _row(run: LoadedRun, group: metrics.Group, records: Sequence[Record]) -> Row:
    entry = run.entry(group.benchmark)
    items = [run.items[record.benchmark, record.id] for record in records]
    labels = list(dict.fromkeys(label for item in items for label in item.options))
    scores = metrics.classification(records, labels)
    accuracy = metrics.accuracy(records)
    low, high = metrics.wilson_interval(sum(r.correct for r in records), len(records))
    collapse = metrics.collapse(records)
    return Row(
        run=run.name,
        model=run.info.model.model,
        weights=run.info.model.weights,
        benchmark=group.benchmark,
        title=entry.title or group.benchmark,
        split=entry.split,
        scoring=group.scoring,
        debias=group.debias,
        n=len(records),
        planned=entry.num_items,
        accuracy=accuracy,
        low=low,
        high=high,
        weighted_precision=scores.weighted_precision,
        weighted_recall=scores.weighted_recall,
        weighted_f1=scores.weighted_f1,
        macro_precision=scores.macro_precision,
        macro_recall=scores.macro_recall,
        macro_f1=scores.macro_f1,
        baselines=_baselines(records, labels, items),
        counts=_counts(records, labels),
        classes=[ClassRow(**vars(score)) for score in scores.classes],
        collapse=None if collapse is None else (collapse.label, collapse.share),
        calibration=_calibration(records),
        permutation=_permutation(group, records),
    )


def _baselines(records: Sequence[Record], labels: list[str], items: list[Item]) -> Baselines:
    majority = metrics.majority_baseline(records, labels)
    table = pair_table(list(zip(majority, records, strict=True)))
    low, high = paired_interval(table)
    return Baselines(
        majority_label=str(majority[0].prediction),
        majority=metrics.accuracy(majority),
        difference=(table.only_b - table.only_a) / table.total,
        difference_low=low,
        difference_high=high,
        uniform=metrics.uniform_accuracy([len(item.options) for item in items]),
    )


def _counts(records: Sequence[Record], labels: list[str]) -> PredictionCounts:
    gold = Counter(record.gold for record in records)
    return PredictionCounts(
        labels=labels,
        gold={label: gold[label] for label in labels},
        predicted=metrics.prediction_counts(records, labels),
        unparsed=sum(record.prediction is None for record in records),
        truncated=sum(record.truncated for record in records),
        confusion=[list(row) for row in metrics.confusion_matrix(records, labels)],
    )


def _calibration(records: Sequence[Record]) -> Calibration | None:
    if not all(record.probabilities for record in records):
        return None
    curve = calibration.risk_coverage(records)
    n = len(curve.risks)
    shown = sorted({round(i * (n - 1) / (CURVE_POINTS - 1)) for i in range(CURVE_POINTS)})
    return Calibration(
        ece=calibration.expected_calibration_error(records),
        brier=calibration.brier_score(records),
        aurc=curve.aurc,
        selective={f"{c:.2f}": curve.accuracy_at(c) for c in COVERAGES},
        bins=[
            (b.low, b.high, b.count, b.confidence, b.accuracy)
            for b in calibration.reliability_bins(records)
        ],
        curve=[((i + 1) / n, curve.risks[i]) for i in shown],
    )


def _permutation(group: metrics.Group, records: Sequence[Record]) -> Permutation | None:
    if group.debias != "none" or not all(len(record.rotations) > 1 for record in records):
        return None
    rate = metrics.flip_rate(records)
    return Permutation(
        flip_rate=rate.pairs,
        items_flipped=rate.items,
        position_shares=list(metrics.position_shares(records)),
    )
