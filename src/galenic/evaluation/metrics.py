"""Metrics of one group of records: accuracy, class scores, histograms, position effects.

Every function is pure and takes records of one (benchmark, scoring, debias) group, as made by
`group_records`. Empty input raises ValueError.
Confidence-based measures are in `galenic.evaluation.calibration`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

from scipy.stats import norm

from galenic.evaluation.records import Record

__all__ = [
    "COLLAPSE_SHARE",
    "ClassScore",
    "Classification",
    "Collapse",
    "FlipRate",
    "Group",
    "Interval",
    "accuracy",
    "best_label",
    "classification",
    "collapse",
    "confusion_matrix",
    "flip_rate",
    "group_records",
    "majority_baseline",
    "position_shares",
    "prediction_counts",
    "uniform_accuracy",
    "unparsed_rate",
    "wilson_interval",
    "without_debias",
]

COLLAPSE_SHARE = 0.9
"""A model whose parsed predictions have more than this share of one label is called collapsed."""
COLLAPSE_ANSWERS = 20
"""Minimum number of parsed predictions for detecting a collapse."""


class Group(NamedTuple):
    """Key of a group of records that may be summarized together."""

    benchmark: str
    scoring: str
    debias: str


class Interval(NamedTuple):
    """A closed two-sided interval."""

    low: float
    high: float


@dataclass(frozen=True)
class ClassScore:
    """One-versus-rest scores of a class; ``support`` is its number of gold items."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Classification:
    """Scores by class, with support-weighted and macro averages."""

    classes: tuple[ClassScore, ...]
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float
    macro_precision: float
    macro_recall: float
    macro_f1: float


class Collapse(NamedTuple):
    """The label that a collapsed model predicts, and its share of the parsed predictions."""

    label: str
    share: float


class FlipRate(NamedTuple):
    """How often answers change when the options are shown in another order.

    Attributes:
        pairs: share of (item, rotation) pairs, without the first rotation, whose answer differs
            from that in source order.
        items: share of items whose answer changes in at least one rotation.
    """

    pairs: float
    items: float


def group_records(records: Iterable[Record]) -> dict[Group, list[Record]]:
    """Group records by (benchmark, scoring, debias), in order of first appearance."""
    groups: dict[Group, list[Record]] = {}
    for record in records:
        key = Group(record.benchmark, record.scoring, record.debias)
        groups.setdefault(key, []).append(record)
    return groups


def without_debias(record: Record) -> Record:
    """Return the record as it would be without debiasing, from the source order only.

    A debiased record stores the probabilities in source order as its first rotation, so one run
    yields both results.

    Raises:
        ValueError: the record has no rotations.
    """
    if not record.rotations:
        raise ValueError(f"record {record.key} holds no rotations")
    first = record.rotations[0]
    return record.model_copy(
        update={"debias": "none", "probabilities": first, "prediction": best_label(first)}
    )


def best_label(probabilities: Mapping[str, float]) -> str:
    """Return the most probable label; ties go to the one listed first."""
    if not probabilities:
        raise ValueError("no probabilities to choose from")
    return max(probabilities, key=lambda label: probabilities[label])


def accuracy(records: Sequence[Record]) -> float:
    """Share of correct predictions; an unparsed answer counts as wrong."""
    _need(records)
    return sum(record.correct for record in records) / len(records)


def wilson_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson score interval of a proportion.

    With p = successes/n and z the (1 + level)/2 normal quantile:
    ``(p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)``.
    E. B. Wilson, JASA 22:209 (1927), https://doi.org/10.1080/01621459.1927.10502953.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"need 0 <= successes <= n and n > 0, got {successes} of {n}")
    z = float(norm.ppf((1 + level) / 2))
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # By rounding, the interval for 0 or n successes may just miss the proportion itself.
    return Interval(
        max(0.0, min(p, (centre - half) / scale)), min(1.0, max(p, (centre + half) / scale))
    )


def classification(records: Sequence[Record], labels: Sequence[str]) -> Classification:
    """Precision, recall and F1 by class, with weighted and macro averages.

    As scikit-learn's ``precision_recall_fscore_support(labels=labels, zero_division=0)``: a class
    that is never predicted has precision 0, one without gold items recall 0. Macro averages run
    over **all** given labels, so a class without items counts as zero; an unparsed answer is a
    miss of its gold class and a prediction of no class.
    https://scikit-learn.org/stable/modules/generated/sklearn.metrics.precision_recall_fscore_support.html

    Raises:
        ValueError: there are no records, or a gold label or prediction is not in ``labels``.
    """
    _need(records)
    _need_labels(records, labels)
    support = Counter(record.gold for record in records)
    predicted = Counter(record.prediction for record in records)
    hits = Counter(record.gold for record in records if record.correct)
    classes = []
    for label in labels:
        precision = _ratio(hits[label], predicted[label])
        recall = _ratio(hits[label], support[label])
        f1 = _ratio(2 * hits[label], predicted[label] + support[label])
        classes.append(ClassScore(label, precision, recall, f1, support[label]))
    n, k = len(records), len(labels)
    return Classification(
        classes=tuple(classes),
        weighted_precision=sum(c.precision * c.support for c in classes) / n,
        weighted_recall=sum(c.recall * c.support for c in classes) / n,
        weighted_f1=sum(c.f1 * c.support for c in classes) / n,
        macro_precision=sum(c.precision for c in classes) / k,
        macro_recall=sum(c.recall for c in classes) / k,
        macro_f1=sum(c.f1 for c in classes) / k,
    )


def confusion_matrix(
    records: Sequence[Record], labels: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    """Confusion matrix: rows are gold labels, columns predicted labels plus "unparsed".

    The shape is (len(labels), len(labels) + 1).
    """
    _need(records)
    _need_labels(records, labels)
    pairs = Counter((record.gold, record.prediction) for record in records)
    columns: list[str | None] = [*labels, None]
    return tuple(tuple(pairs[gold, column] for column in columns) for gold in labels)


def prediction_counts(records: Sequence[Record], labels: Sequence[str]) -> dict[str, int]:
    """Count the predictions of each label, zeros included, without unparsed answers."""
    _need(records)
    _need_labels(records, labels)
    counts = Counter(record.prediction for record in records)
    return {label: counts[label] for label in labels}


def collapse(records: Sequence[Record], threshold: float = COLLAPSE_SHARE) -> Collapse | None:
    """Return the label with more than ``threshold`` of the parsed predictions, or None.

    The accuracy of a collapsed model is about the share of that label among the gold labels, which
    can look respectable. With fewer than `COLLAPSE_ANSWERS` parsed predictions the result is
    None.
    """
    _need(records)
    counts = Counter(record.prediction for record in records if record.prediction is not None)
    if counts.total() < COLLAPSE_ANSWERS:
        return None
    label, count = counts.most_common(1)[0]
    share = count / counts.total()
    return Collapse(label, share) if share > threshold else None


def unparsed_rate(records: Sequence[Record]) -> float:
    """Share of answers from which no label could be parsed."""
    _need(records)
    return sum(record.prediction is None for record in records) / len(records)


def majority_baseline(records: Sequence[Record], labels: Sequence[str]) -> list[Record]:
    """Return records of a predictor that always gives the most common gold label of these items.

    Ties go to the first in ``labels``. The predictor knows the label counts, so no constant
    prediction can beat it.
    """
    _need(records)
    _need_labels(records, labels)
    counts = Counter(record.gold for record in records)
    label = max(labels, key=lambda name: counts[name])
    return [
        Record(
            benchmark=record.benchmark,
            id=record.id,
            scoring="majority",
            gold=record.gold,
            prediction=label,
        )
        for record in records
    ]


def uniform_accuracy(num_options: Sequence[int]) -> float:
    """Expected accuracy of guessing uniformly, given each item's number of options."""
    if not num_options:
        raise ValueError("no items")
    if min(num_options) < 1:
        raise ValueError("every item needs at least one option")
    return sum(1 / count for count in num_options) / len(num_options)


def flip_rate(records: Sequence[Record]) -> FlipRate:
    """Measure how often the answer changes when the options are rotated.

    The answer in rotation r is the argmax of ``rotations[r]`` (by original label); it is compared
    with that in rotation 0. On option-order effects see arXiv 2309.03882.

    Raises:
        ValueError: there are no records, or one has fewer than two rotations.
    """
    _need(records)
    flipped = pairs = items = 0
    for record in records:
        if len(record.rotations) < 2:
            raise ValueError(f"record {record.key} holds fewer than two rotations")
        answers = [best_label(rotation) for rotation in record.rotations]
        changes = sum(answer != answers[0] for answer in answers[1:])
        flipped += changes
        items += changes > 0
        pairs += len(answers) - 1
    return FlipRate(flipped / pairs, items / len(records))


def position_shares(records: Sequence[Record]) -> tuple[float, ...]:
    """Share of answers by the position at which the chosen option was shown, over all rotations.

    In rotation r, position i shows the original option ``(i + r) mod k``, so original option j is
    at position ``(j - r) mod k``. Over all k rotations every option visits every position, so a
    model without position bias gives equal shares. Labels are ordered as in ``rotations[0]``; the
    result is as long as the longest option list.

    Raises:
        ValueError: there are no records, or one has no rotations.
    """
    _need(records)
    counts: Counter[int] = Counter()
    longest = 0
    for record in records:
        if not record.rotations:
            raise ValueError(f"record {record.key} holds no rotations")
        labels = list(record.rotations[0])
        longest = max(longest, len(labels))
        for r, rotation in enumerate(record.rotations):
            original = labels.index(best_label(rotation))
            counts[(original - r) % len(labels)] += 1
    return tuple(counts[position] / counts.total() for position in range(longest))


def _need(records: Sequence[Record]) -> None:
    if not records:
        raise ValueError("no records")


def _need_labels(records: Sequence[Record], labels: Sequence[str]) -> None:
    known = {*labels, None}
    for record in records:
        for label in (record.gold, record.prediction):
            if label not in known:
                raise ValueError(f"record {record.key}: label {label!r} is not one of {labels}")


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
