"""Calibration measures: reliability bins, Brier score, risk-coverage curve.

Pure functions over records with option probabilities; the confidence of an answer is the largest
of these. Empty input and records without probabilities (generated answers) raise ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil

import numpy as np

from galenic.evaluation.records import Record

__all__ = [
    "Bin",
    "RiskCoverage",
    "brier_score",
    "confidence",
    "expected_calibration_error",
    "reliability_bins",
    "risk_coverage",
]


@dataclass(frozen=True)
class Bin:
    """Answers with confidence in (low, high]; the first bin also contains 0.

    ``confidence`` and ``accuracy`` are means over the bin; None if it is empty.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class RiskCoverage:
    """Error rate when only the most confident answers are given.

    Attributes:
        risks: ``risks[i]`` is the error rate among the i + 1 most confident answers, shape (n,);
            the coverage there is (i + 1)/n.
        aurc: area under that curve, the mean of ``risks``. An uninformative confidence gives
            the overall error rate; smaller is better.
    """

    risks: tuple[float, ...]
    aurc: float

    def accuracy_at(self, coverage: float) -> float:
        """Accuracy among the ``ceil(coverage * n)`` most confident answers."""
        if not 0 < coverage <= 1:
            raise ValueError(f"coverage must be in (0, 1], got {coverage}")
        # 0.07 * 100 is 7.000000000000001 in floating point: that is still the seventh answer.
        count = ceil(coverage * len(self.risks) - 1e-9)
        return 1 - self.risks[max(count, 1) - 1]


def confidence(record: Record) -> float:
    """Largest option probability of a record."""
    if not record.probabilities:
        raise ValueError(f"record {record.key} holds no probabilities")
    return max(record.probabilities.values())


def reliability_bins(records: Sequence[Record], num_bins: int = 10) -> list[Bin]:
    """Equal-width confidence bins with the mean confidence and the accuracy inside each."""
    if not records:
        raise ValueError("no records")
    if num_bins < 1:
        raise ValueError(f"num_bins must be at least 1, got {num_bins}")
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    values = np.array([confidence(record) for record in records])
    right = np.array([record.correct for record in records], dtype=np.float64)
    # A confidence may exceed 1 by a rounding error; then it belongs in the last bin.
    index = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, num_bins - 1)
    bins = []
    for number in range(num_bins):
        inside = index == number
        count = int(inside.sum())
        bins.append(
            Bin(
                low=float(edges[number]),
                high=float(edges[number + 1]),
                count=count,
                confidence=float(values[inside].mean()) if count else None,
                accuracy=float(right[inside].mean()) if count else None,
            )
        )
    return bins


def expected_calibration_error(records: Sequence[Record], num_bins: int = 10) -> float:
    """Expected calibration error, ``Σ_b (n_b/n)·|accuracy_b - confidence_b|``.

    Equal-width bins (low, high]: Guo et al., ICML 2017, https://arxiv.org/abs/1706.04599.
    """
    return sum(
        entry.count / len(records) * abs(entry.accuracy - entry.confidence)
        for entry in reliability_bins(records, num_bins)
        if entry.accuracy is not None and entry.confidence is not None
    )


def brier_score(records: Sequence[Record]) -> float:
    """Multiclass Brier score, ``1/n·Σ_items Σ_labels (p - [label is gold])²``.

    In [0, 2]: 0 is perfect, (k-1)/k is the uniform guess over k options. The form over all classes
    of G. W. Brier, Monthly Weather Review 78:1 (1950).
    """
    if not records:
        raise ValueError("no records")
    total = 0.0
    for record in records:
        confidence(record)
        if record.gold not in record.probabilities:
            raise ValueError(f"record {record.key}: no probability for its gold label")
        total += sum(
            (value - (label == record.gold)) ** 2 for label, value in record.probabilities.items()
        )
    return total / len(records)


def risk_coverage(records: Sequence[Record]) -> RiskCoverage:
    """Compute the error rate of the most confident answers as a function of coverage.

    The area is the empirical AURC of Geifman, Uziel and El-Yaniv, ICLR 2019,
    https://arxiv.org/abs/1805.08206. For ties in confidence the curve is the expectation over all
    their orders, so the result does not depend on the order of the records.
    """
    if not records:
        raise ValueError("no records")
    ordered = sorted(records, key=confidence, reverse=True)
    risks: list[float] = []
    errors = 0
    for _, group in groupby(ordered, key=confidence):
        tied = [not record.correct for record in group]
        done, share = len(risks), sum(tied) / len(tied)
        for step in range(1, len(tied) + 1):
            risks.append((errors + share * step) / (done + step))
        errors += sum(tied)
    return RiskCoverage(tuple(risks), sum(risks) / len(risks))
