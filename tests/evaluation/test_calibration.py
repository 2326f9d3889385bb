"""Calibration measures against scikit-learn and naive loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from galenic.evaluation import calibration
from galenic.evaluation.records import Record

LABELS = ("A", "B", "C")


def record(number: int, probabilities: dict[str, float], gold: str) -> Record:
    return Record(
        benchmark="b",
        id=str(number),
        scoring="letter",
        gold=gold,
        prediction=max(probabilities, key=lambda label: probabilities[label]),
        probabilities=probabilities,
    )


def judged(cases: list[tuple[float, bool]]) -> list[Record]:
    """Two-option records of a given confidence in [0.5, 1], right or wrong."""
    return [
        record(number, {"A": value, "B": 1 - value}, "A" if right else "B")
        for number, (value, right) in enumerate(cases)
    ]


@st.composite
def records(draw: st.DrawFn) -> list[Record]:
    seed = draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    rows = rng.dirichlet(np.full(3, 0.4), size=n)
    return [
        record(i, dict(zip(LABELS, map(float, row), strict=True)), str(rng.choice(LABELS)))
        for i, row in enumerate(rows)
    ]


cases = st.lists(
    st.tuples(st.sampled_from([0.5, 0.6, 0.75, 0.9, 1.0]), st.booleans()), min_size=1, max_size=7
)


@given(records(), st.integers(1, 20))
@settings(max_examples=50, deadline=None)
def test_calibration_error_equals_a_naive_loop(items: list[Record], num_bins: int) -> None:
    total = 0.0
    for number in range(num_bins):
        low, high = number / num_bins, (number + 1) / num_bins
        inside = [
            item
            for item in items
            if low < max(item.probabilities.values()) <= high + (number == num_bins - 1)
        ]
        if inside:
            mean = math.fsum(max(item.probabilities.values()) for item in inside) / len(inside)
            share = sum(item.prediction == item.gold for item in inside) / len(inside)
            total += len(inside) / len(items) * abs(mean - share)
    assert calibration.expected_calibration_error(items, num_bins) == pytest.approx(total)


def test_bins_are_closed_on_the_right() -> None:
    bins = calibration.reliability_bins(judged([(0.7, True), (0.8, False), (0.75, True)]), 10)
    assert [entry.count for entry in bins] == [0, 0, 0, 0, 0, 0, 1, 2, 0, 0]
    assert bins[7].accuracy == pytest.approx(0.5)
    assert bins[7].confidence == pytest.approx(0.775)
    assert bins[0].accuracy is None


def test_calibration_error_by_hand() -> None:
    # Four answers at 0.9 of which three are right: |0.75 - 0.9|; two at 0.6, both right: 0.4.
    items = judged([(0.9, True)] * 3 + [(0.9, False)] + [(0.6, True)] * 2)
    expected = 4 / 6 * 0.15 + 2 / 6 * 0.4
    assert calibration.expected_calibration_error(items) == pytest.approx(expected)


@given(records())
@settings(max_examples=50, deadline=None)
def test_brier_equals_scikit_learn(items: list[Record]) -> None:
    theirs = brier_score_loss(
        [item.gold for item in items],
        np.array([[item.probabilities[label] for label in LABELS] for item in items]),
        labels=list(LABELS),
        scale_by_half=False,
    )
    assert calibration.brier_score(items) == pytest.approx(theirs)


@given(cases)
@settings(max_examples=40, deadline=None)
def test_ties_give_the_mean_over_all_their_orders(items: list[tuple[float, bool]]) -> None:
    """The curve equals the average of the naive curves over every order that sorts."""
    sums, count = np.zeros(len(items)), 0
    for order in itertools.permutations(items):
        values = [value for value, _ in order]
        if values != sorted(values, reverse=True):
            continue
        errors = np.cumsum([not right for _, right in order])
        sums += errors / np.arange(1, len(items) + 1)
        count += 1
    result = calibration.risk_coverage(judged(items))
    assert result.risks == pytest.approx(sums / count)
    assert result.aurc == pytest.approx((sums / count).mean())


@given(cases)
@settings(max_examples=40, deadline=None)
def test_perfect_order_beats_a_constant_confidence(items: list[tuple[float, bool]]) -> None:
    rights = sorted((right for _, right in items), reverse=True)
    n = len(rights)
    ordered = judged([(1 - 0.4 * i / n, right) for i, right in enumerate(rights)])
    constant = judged([(0.8, right) for right in rights])
    error = 1 - sum(rights) / n
    assert calibration.risk_coverage(constant).aurc == pytest.approx(error)
    assert calibration.risk_coverage(ordered).aurc <= error + 1e-12


def test_accuracy_at_coverage() -> None:
    items = judged([(0.95, True), (0.9, True), (0.8, False), (0.6, True)])
    curve = calibration.risk_coverage(items)
    assert curve.accuracy_at(0.25) == 1
    assert curve.accuracy_at(0.5) == 1
    assert curve.accuracy_at(0.75) == pytest.approx(2 / 3)
    assert curve.accuracy_at(1) == pytest.approx(3 / 4)
    hundred = calibration.RiskCoverage(tuple(i / 100 for i in range(100)), 0.5)
    assert hundred.accuracy_at(0.07) == pytest.approx(1 - 0.06)
    for wrong in (0.0, 1.5):
        with pytest.raises(ValueError, match="coverage"):
            curve.accuracy_at(wrong)


def test_what_cannot_be_measured_raises() -> None:
    for call in (
        calibration.expected_calibration_error,
        calibration.brier_score,
        calibration.risk_coverage,
    ):
        with pytest.raises(ValueError, match="no records"):
            call([])
        generated = Record(benchmark="b", id="1", scoring="generate", gold="A", prediction="A")
        with pytest.raises(ValueError, match="no probabilities"):
            call([generated])
    with pytest.raises(ValueError, match="num_bins"):
        calibration.reliability_bins(judged([(0.5, True)]), 0)
    with pytest.raises(ValueError, match="gold label"):
        calibration.brier_score([record(0, {"A": 1.0}, "B")])
