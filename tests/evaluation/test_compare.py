"""Paired comparison against published values, hand computation and naive loops."""

from __future__ import annotations

from math import comb, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.errors import UserError
from galenic.evaluation import compare
from galenic.evaluation.compare import PairTable
from galenic.evaluation.records import Record

tables = st.builds(PairTable, *[st.integers(0, 60)] * 4).filter(lambda table: table.total > 0)


def record(number: int, prediction: str, **fields: object) -> Record:
    other = "B" if prediction == "A" else "A"
    return Record.model_validate(
        {
            "benchmark": "medmcqa",
            "id": f"q{number}",
            "scoring": "letter",
            "gold": "A",
            "prediction": prediction,
            "probabilities": {prediction: 0.8, other: 0.2},
            **fields,
        }
    )


@pytest.mark.parametrize(
    ("table", "low", "high", "p_value", "digits"),
    [
        # Complete response before and after consolidation therapy (Cavo et al. 2012): Fagerland,
        # Lydersen and Laake, Statistical Analysis of Contingency Tables (2017), chapter 8.
        (PairTable(59, 6, 16, 80), 0.0046, 0.1186, 0.052479, 4),
        # Airway hyper-responsiveness (Bentur et al. 2009): Fagerland, Lydersen and Laake,
        # Statistics in Medicine 33:2850 (2014), table V, -0.507 to -0.026 for A minus B.
        (PairTable(1, 1, 7, 12), 0.026, 0.507, 0.0703, 3),
        # Altman et al., Statistics with Confidence (2000), table 6.2: 0.011 to 0.226 for A minus B.
        (PairTable(14, 5, 0, 22), -0.226, -0.011, 0.0625, 3),
    ],
)
def test_published_paired_tables(
    table: PairTable, low: float, high: float, p_value: float, digits: int
) -> None:
    interval = compare.paired_interval(table)
    assert (round(interval.low, digits), round(interval.high, digits)) == (low, high)
    assert compare.mcnemar_exact(table) == pytest.approx(p_value, abs=5e-5)


@given(tables)
def test_mcnemar_equals_the_sum_of_binomial_terms(table: PairTable) -> None:
    n, k = table.only_a + table.only_b, min(table.only_a, table.only_b)
    tail = sum(comb(n, i) for i in range(k + 1)) / 2**n
    assert compare.mcnemar_exact(table) == pytest.approx(min(1.0, 2 * tail))


@given(tables)
def test_interval_holds_the_difference_and_turns_with_the_sides(table: PairTable) -> None:
    interval = compare.paired_interval(table)
    difference = (table.only_b - table.only_a) / table.total
    assert -1 <= interval.low <= difference + 1e-12
    assert difference - 1e-12 <= interval.high <= 1
    swapped = PairTable(table.both, table.only_b, table.only_a, table.neither)
    other = compare.paired_interval(swapped)
    assert (other.low, other.high) == pytest.approx((-interval.high, -interval.low))


def test_two_questions_are_too_few_for_a_correlation() -> None:
    """One both, one neither: 1 * 1 - 0 is drawn to 0 by 2/2, so the sides count as independent."""
    interval = compare.paired_interval(PairTable(1, 0, 0, 1))
    # Wilson of 1 of 2: .5 -+ 1.96 sqrt(.125 + 1.96^2 / 16) / (1 + 1.96^2 / 2) = .5 -+ .4055
    assert interval == pytest.approx((-(0.5**0.5 * 2 * 0.4055), 0.5**0.5 * 2 * 0.4055), abs=1e-4)


def test_one_pair_is_enough() -> None:
    result = compare.compare_pairs([(record(1, "B"), record(1, "A"))])
    assert (result.benchmark, result.n, result.difference) == ("medmcqa", 1, 1.0)
    assert (result.a_wins, result.b_wins) == ((), ("q1",))


def test_comparison_of_hand_made_pairs() -> None:
    side_a = [record(i, p) for i, p in enumerate("AAABBB")]
    side_b = [record(i, p) for i, p in enumerate("AABABC")]
    pairing = compare.pair_records(side_a[:5], side_b[:5])
    (pairs,) = pairing.groups.values()
    result = compare.compare_pairs(pairs)
    assert result.n == 5
    assert (result.accuracy_a, result.accuracy_b) == (0.6, 0.6)
    assert result.difference == 0
    assert (result.a_wins, result.b_wins) == (("q2",), ("q3",))
    assert result.flipped == pytest.approx(2 / 5)
    # Three equal distributions diverge by 0, two opposite ones by 0.8·ln 4 + 0.2·ln ¼.
    assert result.divergence == pytest.approx(2 / 5 * (0.8 * log(4) - 0.2 * log(4)))
    assert result.p_value == 1.0


def test_divergence_takes_a_as_the_reference_and_survives_zeros() -> None:
    a = record(0, "A", probabilities={"A": 1.0, "B": 0.0})
    b = record(0, "A", probabilities={"A": 0.5, "B": 0.5})
    assert compare.mean_divergence([(a, b)]) == pytest.approx(log(2))
    reverse = compare.mean_divergence([(b, a)])
    assert reverse == pytest.approx(0.5 * log(0.5) + 0.5 * log(0.5 / 1e-12))
    generated = record(0, "A", probabilities={})
    assert compare.mean_divergence([(a, generated)]) is None


def test_records_pair_by_benchmark_scoring_and_debias() -> None:
    side_a = [record(1, "A"), record(2, "A"), record(1, "A", scoring="text")]
    side_b = [record(2, "B"), record(3, "B"), record(1, "B", scoring="text")]
    pairing = compare.pair_records(side_a, side_b)
    assert set(pairing.groups) == {("medmcqa", "letter", "none"), ("medmcqa", "text", "none")}
    assert (pairing.unpaired_a, pairing.unpaired_b) == (1, 1)


def test_two_scorings_of_one_run_pair_by_question() -> None:
    letters = [record(1, "A"), record(2, "A")]
    texts = [record(1, "B", scoring="text"), record(2, "A", scoring="text")]
    with pytest.raises(UserError, match="no question in common"):
        compare.pair_records(letters, texts)
    pairing = compare.pair_records(letters, texts, match_scoring=False)
    (pairs,) = pairing.groups.values()
    result = compare.compare_pairs(pairs)
    assert (result.scoring_a, result.scoring_b, result.a_wins) == ("letter", "text", ("q1",))
    with pytest.raises(UserError, match="more than one record"):
        compare.pair_records([*letters, *texts], texts, match_scoring=False)


def test_different_answer_keys_are_refused() -> None:
    with pytest.raises(UserError, match="different versions of the data"):
        compare.pair_records([record(1, "A")], [record(1, "A", gold="B")])
    fewer = record(1, "A", probabilities={"A": 1.0})
    with pytest.raises(UserError, match="the options A, B in A and A in B"):
        compare.pair_records([record(1, "A")], [fewer])


def test_plain_views_stand_beside_averaged_records() -> None:
    rotations = [{"A": 0.3, "B": 0.7}, {"A": 0.9, "B": 0.1}]
    averaged = record(1, "A", debias="permutations", rotations=rotations)
    both = compare.with_plain_views([averaged, record(2, "B")])
    assert [(r.id, r.debias, r.prediction) for r in both] == [
        ("q1", "permutations", "A"),
        ("q1", "none", "B"),
        ("q2", "none", "B"),
    ]


def test_empty_and_unlike_pairs_raise() -> None:
    for call in (compare.compare_pairs, compare.mean_divergence, compare.pair_table):
        with pytest.raises(ValueError, match="no pairs"):
            call([])
    with pytest.raises(ValueError, match="no pairs"):
        compare.paired_interval(PairTable(0, 0, 0, 0))
    other = record(1, "A", probabilities={"A": 0.5, "C": 0.5})
    with pytest.raises(ValueError, match="different options"):
        compare.mean_divergence([(record(1, "A"), other)])


def test_benchmarks_are_pooled_where_there_are_several() -> None:
    one, two = ("medmcqa", "letter", "none"), ("pubmedqa", "letter", "none")
    pairs = [(record(1, "A"), record(1, "B"))]
    others = [(record(2, "B"), record(2, "A"))] * 2
    assert compare.pool_groups({one: pairs, ("pubmedqa", "text", "none"): others}) == {}
    found = compare.pool_groups({one: pairs, two: others})
    assert found == {("all", "letter", "none"): [*pairs, *others]}
    compared = compare.compare_pairs(found["all", "letter", "none"], "all")
    assert (compared.benchmark, compared.n) == ("all", 3)
    assert compared.difference == pytest.approx(1 / 3)
