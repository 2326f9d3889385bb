"""Metrics against scikit-learn, scipy, hand-computed values and naive loops."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
)

from galenic.evaluation import metrics
from galenic.evaluation.records import Record

LABELS = ("A", "B", "C", "D")

answers = st.lists(
    st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, None])), min_size=1, max_size=40
)


def make(pairs: list[tuple[str, str | None]], **fields: object) -> list[Record]:
    return [
        Record.model_validate(
            {
                "benchmark": "medmcqa",
                "id": str(number),
                "scoring": "letter",
                "gold": gold,
                "prediction": prediction,
                **fields,
            }
        )
        for number, (gold, prediction) in enumerate(pairs)
    ]


def rotated(gold: str, *choices: str) -> Record:
    """A record whose rotation r chose the original label ``choices[r]``."""
    rotations = [{label: 0.7 if label == choice else 0.1 for label in LABELS} for choice in choices]
    mean = {label: sum(r[label] for r in rotations) / len(rotations) for label in LABELS}
    return Record(
        benchmark="medmcqa",
        id="-".join(choices),
        scoring="letter",
        debias="permutations",
        gold=gold,
        prediction=metrics.best_label(mean),
        probabilities=mean,
        rotations=rotations,
    )


@given(answers)
@settings(max_examples=60, deadline=None)
def test_class_scores_equal_scikit_learn(pairs: list[tuple[str, str | None]]) -> None:
    result = metrics.classification(make(pairs), LABELS)
    gold = [gold for gold, _ in pairs]
    predicted = [prediction or "unparsed" for _, prediction in pairs]
    options = {"labels": list(LABELS), "zero_division": 0}
    by_class = precision_recall_fscore_support(gold, predicted, **options)
    for ours, *theirs in zip(result.classes, *by_class, strict=True):
        assert (ours.precision, ours.recall, ours.f1, ours.support) == pytest.approx(theirs)
    for average in ("weighted", "macro"):
        theirs = precision_recall_fscore_support(gold, predicted, average=average, **options)[:3]
        ours = [getattr(result, f"{average}_{name}") for name in ("precision", "recall", "f1")]
        assert ours == pytest.approx(theirs)


@given(answers)
@settings(max_examples=40, deadline=None)
def test_accuracy_and_confusion_equal_scikit_learn(pairs: list[tuple[str, str | None]]) -> None:
    records = make(pairs)
    gold = [gold for gold, _ in pairs]
    predicted = [prediction or "unparsed" for _, prediction in pairs]
    assert metrics.accuracy(records) == pytest.approx(accuracy_score(gold, predicted))
    whole = confusion_matrix(gold, predicted, labels=[*LABELS, "unparsed"])
    assert np.array_equal(np.array(metrics.confusion_matrix(records, LABELS)), whole[:-1])
    assert metrics.unparsed_rate(records) == predicted.count("unparsed") / len(pairs)
    counts = metrics.prediction_counts(records, LABELS)
    assert counts == {label: Counter(predicted)[label] for label in LABELS}


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy_and_holds_the_proportion(case: tuple[int, int]) -> None:
    successes, n = case
    ours = metrics.wilson_interval(successes, n)
    theirs = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0 <= ours.low <= successes / n <= ours.high <= 1


def test_wilson_of_a_published_example() -> None:
    # 81 of 263: Newcombe, Statistics in Medicine 17:857 (1998), table I, method 3.
    assert metrics.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_majority_row_has_precision_accuracy_squared() -> None:
    records = make([("A", "C")] * 3 + [("B", "C")] * 5 + [("C", "C")] * 2)
    majority = metrics.majority_baseline(records, LABELS)
    assert {record.prediction for record in majority} == {"B"}
    assert [record.id for record in majority] == [record.id for record in records]
    scores = metrics.classification(majority, LABELS)
    assert scores.weighted_precision == pytest.approx(0.25)
    assert scores.weighted_recall == pytest.approx(0.5)
    # F1 of B is 2 * 0.5 * 1 / 1.5; the others are 0.
    assert scores.weighted_f1 == pytest.approx(0.5 * 2 / 3)
    assert scores.macro_f1 == pytest.approx(2 / 3 / 4)


def test_equal_gold_counts_take_the_first_label() -> None:
    records = make([("D", "A"), ("C", "A")])
    assert metrics.majority_baseline(records, LABELS)[0].prediction == "C"


def test_collapse_needs_more_than_nine_tenths_of_the_parsed_answers() -> None:
    nine_of_ten = make([("A", "B")] * 18 + [("A", "C")] * 2)
    assert metrics.collapse(nine_of_ten) is None
    ten_of_eleven = make([("A", "B")] * 20 + [("A", "C")] * 2)
    found = metrics.collapse(ten_of_eleven)
    assert found is not None
    assert found.label == "B"
    assert found.share == pytest.approx(10 / 11)
    # Unparsed answers do not hide a collapse of those that could be read.
    assert metrics.collapse(make([("A", "B")] * 20 + [("A", None)] * 50)) == ("B", 1.0)
    assert metrics.collapse(make([("A", "B")] * 19 + [("A", None)] * 50)) is None  # too few
    assert metrics.collapse(make([("A", None)])) is None


def test_uniform_accuracy_of_mixed_option_counts() -> None:
    assert metrics.uniform_accuracy([4, 5, 4]) == pytest.approx((0.25 + 0.2 + 0.25) / 3)


def test_uniform_accuracy_of_a_question_with_one_option_is_one() -> None:
    assert metrics.uniform_accuracy([1, 2]) == pytest.approx(0.75)
    with pytest.raises(ValueError, match="at least one option"):
        metrics.uniform_accuracy([0, 2])


def test_flip_rate_counts_pairs_and_items() -> None:
    records = [
        rotated("A", "A", "A", "A", "A"),
        rotated("A", "A", "B", "A", "C"),
        rotated("A", "D", "D", "D", "A"),
        rotated("A", "A", "B", "B", "B"),  # only the first differs from the others
    ]
    rate = metrics.flip_rate(records)
    assert rate.pairs == pytest.approx(6 / 12)
    assert rate.items == pytest.approx(3 / 4)


def test_position_shares_follow_where_the_chosen_option_stood() -> None:
    # A model that always takes the first position: in rotation r original option r stands there.
    first = [rotated("A", "A", "B", "C", "D")] * 3
    assert metrics.position_shares(first) == (1.0, 0.0, 0.0, 0.0)
    # Always the third position (index 2): original (2 + r) mod 4.
    assert metrics.position_shares([rotated("A", "C", "D", "A", "B")]) == (0.0, 0.0, 1.0, 0.0)
    # A model that reads: the same option whatever its place.
    assert metrics.position_shares([rotated("A", "B", "B", "B", "B")]) == (0.25,) * 4


@pytest.mark.slow
@given(st.lists(st.lists(st.sampled_from(LABELS), min_size=4, max_size=4), min_size=1, max_size=12))
def test_position_shares_equal_a_naive_loop(choices: list[list[str]]) -> None:
    counts = [0, 0, 0, 0]
    for chosen in choices:
        for r, label in enumerate(chosen):
            for position in range(4):
                if LABELS[(position + r) % 4] == label:
                    counts[position] += 1
    shares = metrics.position_shares([rotated("A", *chosen) for chosen in choices])
    assert shares == pytest.approx([count / sum(counts) for count in counts])


def test_plain_view_is_the_first_rotation_and_leaves_the_record_alone() -> None:
    record = rotated("A", "A", "B", "B", "B")
    plain = metrics.without_debias(record)
    assert (record.prediction, record.debias) == ("B", "permutations")
    assert (plain.prediction, plain.debias) == ("A", "none")
    assert plain.probabilities == record.rotations[0]
    assert math.fsum(plain.probabilities.values()) == pytest.approx(1)


def test_groups_keep_benchmark_scoring_and_debias_apart() -> None:
    records = [
        *make([("A", "A")]),
        *make([("A", "B")], scoring="text"),
        *make([("A", "A"), ("B", "B")], debias="permutations"),
    ]
    groups = metrics.group_records(records)
    assert {key: len(group) for key, group in groups.items()} == {
        ("medmcqa", "letter", "none"): 1,
        ("medmcqa", "text", "none"): 1,
        ("medmcqa", "letter", "permutations"): 2,
    }


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.accuracy([]),
        lambda: metrics.classification([], LABELS),
        lambda: metrics.confusion_matrix([], LABELS),
        lambda: metrics.prediction_counts([], LABELS),
        lambda: metrics.collapse([]),
        lambda: metrics.unparsed_rate([]),
        lambda: metrics.majority_baseline([], LABELS),
        lambda: metrics.uniform_accuracy([]),
        lambda: metrics.flip_rate([]),
        lambda: metrics.position_shares([]),
        lambda: metrics.best_label({}),
        lambda: metrics.wilson_interval(0, 0),
    ],
)
def test_empty_input_raises(call: object) -> None:
    with pytest.raises(ValueError, match=r"no |need "):
        call()  # type: ignore[operator]


def test_wrong_input_raises() -> None:
    with pytest.raises(ValueError, match="'E' is not one of"):
        metrics.classification(make([("E", "A")]), LABELS)
    for scores in (metrics.prediction_counts, metrics.confusion_matrix, metrics.majority_baseline):
        with pytest.raises(ValueError, match="'E' is not one of"):
            scores(make([("A", "E")]), LABELS)
    with pytest.raises(ValueError, match="fewer than two rotations"):
        metrics.flip_rate(make([("A", "A")]))
    with pytest.raises(ValueError, match="no rotations"):
        metrics.position_shares(make([("A", "A")]))
    with pytest.raises(ValueError, match="no rotations"):
        metrics.without_debias(make([("A", "A")])[0])
    with pytest.raises(ValueError, match="at least one option"):
        metrics.uniform_accuracy([4, 0])
    with pytest.raises(ValueError, match="5 of 4"):
        metrics.wilson_interval(5, 4)
