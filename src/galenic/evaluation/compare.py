"""Paired comparison of two models: difference, exact test, flipped answers, divergence.

Pure functions over records. Pairing removes the variation between questions, and so detects
differences that two separate intervals would hide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, log, sqrt

from scipy.stats import binomtest

from galenic.errors import UserError
from galenic.evaluation.metrics import Interval, wilson_interval, without_debias
from galenic.evaluation.records import Record

__all__ = [
    "ALL",
    "Pair",
    "PairTable",
    "PairedResult",
    "Pairing",
    "compare_pairs",
    "mcnemar_exact",
    "mean_divergence",
    "pair_records",
    "pair_table",
    "paired_interval",
    "pool_groups",
    "with_plain_views",
]

Pair = tuple[Record, Record]

ALL = "all"
"""Stands for all benchmarks together in place of a benchmark's name."""

PROBABILITY_FLOOR = 1e-12
"""Lower bound applied to probabilities, so that an underflow does not make a mean infinite."""


@dataclass(frozen=True)
class PairTable:
    """Counts of paired outcomes: both correct, only A, only B, neither."""

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def total(self) -> int:
        """Number of pairs."""
        return self.both + self.only_a + self.only_b + self.neither


@dataclass(frozen=True)
class PairedResult:
    """Comparison of B with A on one group of paired questions.

    Attributes:
        benchmark: name of the benchmark.
        scoring_a: scoring of side A; ``scoring_b``, ``debias_a`` and ``debias_b`` likewise.
        n: number of paired questions.
        accuracy_a: accuracy of A on these questions; ``accuracy_b`` likewise.
        difference: ``accuracy_b - accuracy_a``.
        interval: 95 % interval of the difference (`paired_interval`).
        p_value: exact McNemar test of "no difference" (`mcnemar_exact`).
        flipped: share of questions with different predictions, correct or not.
        divergence: mean KL(A || B) of the option probabilities in nats; None without probabilities.
        a_wins: ids of questions that only A answers correctly; ``b_wins`` likewise.
    """

    benchmark: str
    scoring_a: str
    scoring_b: str
    debias_a: str
    debias_b: str
    n: int
    accuracy_a: float
    accuracy_b: float
    difference: float
    interval: Interval
    p_value: float
    flipped: float
    divergence: float | None
    a_wins: tuple[str, ...]
    b_wins: tuple[str, ...]


@dataclass(frozen=True)
class Pairing:
    """Pairs by group, and the number of records without a partner on each side."""

    groups: dict[tuple[str, ...], list[Pair]]
    unpaired_a: int
    unpaired_b: int


def with_plain_views(records: Iterable[Record]) -> list[Record]:
    """Return the records, plus an undebiased version of each record that stores its rotations."""
    result: list[Record] = []
    for record in records:
        result.append(record)
        if record.debias != "none" and record.rotations:
            result.append(without_debias(record))
    return result


def pair_records(
    records_a: Sequence[Record],
    records_b: Sequence[Record],
    *,
    match_scoring: bool = True,
    match_debias: bool = True,
) -> Pairing:
    """Pair records by benchmark and id, and by scoring and debias unless told otherwise.

    If scoring (or debias) need not match, each side must have only one value of it.

    Raises:
        UserError: there are no pairs, or the sides differ in a question's answer or options.
    """

    def key(record: Record) -> tuple[str, ...]:
        parts = [record.benchmark]
        parts += [record.scoring] if match_scoring else []
        parts += [record.debias] if match_debias else []
        return (*parts, record.id)

    side_a, side_b = _index(records_a, key, "A"), _index(records_b, key, "B")
    groups: dict[tuple[str, ...], list[Pair]] = {}
    for name, a in side_a.items():
        if name not in side_b:
            continue
        b = side_b[name]
        _check_same_question(a, b)
        groups.setdefault(name[:-1], []).append((a, b))
    if not groups:
        raise UserError(
            f"the runs have no question in common. A holds {_contents(records_a)}; "
            f"B holds {_contents(records_b)}. Compare runs of the same benchmark, scoring and "
            "debias, or name the two scorings with --scoring-a and --scoring-b."
        )
    paired = sum(len(pairs) for pairs in groups.values())
    return Pairing(groups, len(side_a) - paired, len(side_b) - paired)


def pool_groups(
    groups: Mapping[tuple[str, ...], Sequence[Pair]],
) -> dict[tuple[str, ...], list[Pair]]:
    """Pool the pairs of all benchmarks under the name `ALL`; empty if there is only one.

    Args:
        groups: the groups of a `Pairing`.
    """
    pooled: dict[tuple[str, ...], list[Pair]] = {}
    names: Counter[tuple[str, ...]] = Counter()
    for (_, *kind), pairs in groups.items():
        pooled.setdefault((ALL, *kind), []).extend(pairs)
        names[ALL, *kind] += 1
    return {name: pairs for name, pairs in pooled.items() if names[name] > 1}


def pair_table(pairs: Sequence[Pair]) -> PairTable:
    """Count the four paired outcomes."""
    if not pairs:
        raise ValueError("no pairs")
    outcomes = [(a.correct, b.correct) for a, b in pairs]
    return PairTable(
        both=outcomes.count((True, True)),
        only_a=outcomes.count((True, False)),
        only_b=outcomes.count((False, True)),
        neither=outcomes.count((False, False)),
    )


def compare_pairs(pairs: Sequence[Pair], benchmark: str | None = None) -> PairedResult:
    """Compute all measures of one group of pairs.

    Args:
        pairs: the group.
        benchmark: name of the group; default: the benchmark of the first pair.

    Raises:
        ValueError: there are no pairs.
    """
    table = pair_table(pairs)
    first_a, first_b = pairs[0]
    n = table.total
    return PairedResult(
        benchmark=benchmark or first_a.benchmark,
        scoring_a=first_a.scoring,
        scoring_b=first_b.scoring,
        debias_a=first_a.debias,
        debias_b=first_b.debias,
        n=n,
        accuracy_a=(table.both + table.only_a) / n,
        accuracy_b=(table.both + table.only_b) / n,
        difference=(table.only_b - table.only_a) / n,
        interval=paired_interval(table),
        p_value=mcnemar_exact(table),
        flipped=sum(a.prediction != b.prediction for a, b in pairs) / n,
        divergence=mean_divergence(pairs),
        a_wins=tuple(a.id for a, b in pairs if a.correct and not b.correct),
        b_wins=tuple(a.id for a, b in pairs if b.correct and not a.correct),
    )


def mcnemar_exact(table: PairTable) -> float:
    """Two-sided exact McNemar p-value of the hypothesis that A and B have equal accuracy.

    Under it each discordant question is equally likely to favour either side: a binomial test of
    ``only_a`` in ``only_a + only_b``. Without discordant questions the p-value is 1.
    Q. McNemar, Psychometrika 12:153 (1947), https://doi.org/10.1007/BF02295996.
    """
    discordant = table.only_a + table.only_b
    if discordant == 0:
        return 1.0
    return float(binomtest(table.only_a, discordant, 0.5).pvalue)


def paired_interval(table: PairTable, level: float = 0.95) -> Interval:
    """Interval of the paired difference of proportions, B minus A.

    Newcombe's square-and-add interval (method 10): the Wilson limits of both proportions combined
    with their correlation φ, whose numerator is drawn towards 0 by n/2 when positive.
    R. G. Newcombe, Statistics in Medicine 17:2635-2650 (1998),
    https://doi.org/10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C.

    Raises:
        ValueError: the table is empty.
    """
    n = table.total
    if n == 0:
        raise ValueError("no pairs")
    right_a, right_b = table.both + table.only_a, table.both + table.only_b
    a, b = right_a / n, right_b / n
    low_a, high_a = wilson_interval(right_a, n, level)
    low_b, high_b = wilson_interval(right_b, n, level)
    phi = _phi(table)

    def reach(x: float, y: float) -> float:
        return sqrt(max(0.0, x * x - 2 * phi * x * y + y * y))

    return Interval(b - a - reach(b - low_b, high_a - a), b - a + reach(high_b - b, a - low_a))


def mean_divergence(pairs: Sequence[Pair]) -> float | None:
    """Mean Kullback-Leibler divergence ``Σ p_A·ln(p_A / p_B)`` over the options, in nats.

    Unlike accuracy it shows when a compressed model keeps its score but changes its answers
    (https://arxiv.org/abs/2407.09141). None if any record has no probabilities.

    Raises:
        ValueError: no pairs, or the two sides of a pair have different options.
    """
    if not pairs:
        raise ValueError("no pairs")
    if any(not record.probabilities for pair in pairs for record in pair):
        return None
    return fsum(_divergence(a, b) for a, b in pairs) / len(pairs)


def _check_same_question(a: Record, b: Record) -> None:
    both = bool(a.probabilities and b.probabilities)
    if a.gold == b.gold and (not both or a.probabilities.keys() == b.probabilities.keys()):
        return
    what = f"the answer {a.gold!r} in A and {b.gold!r} in B"
    if a.gold == b.gold:
        what = (
            f"the options {', '.join(a.probabilities)} in A and {', '.join(b.probabilities)} in B"
        )
    raise UserError(
        f"question {a.id!r} of {a.benchmark} has {what}: the runs used different versions of the "
        "data and cannot be compared. Evaluate one of them again on the other's data."
    )


def _divergence(a: Record, b: Record) -> float:
    if a.probabilities.keys() != b.probabilities.keys():
        raise ValueError(f"question {a.id!r}: the two sides have different options")
    return fsum(
        p * log(max(p, PROBABILITY_FLOOR) / max(b.probabilities[label], PROBABILITY_FLOOR))
        for label, p in a.probabilities.items()
    )


def _phi(table: PairTable) -> float:
    right_a, right_b = table.both + table.only_a, table.both + table.only_b
    n = table.total
    product = right_a * (n - right_a) * right_b * (n - right_b)
    if product == 0:
        return 0.0
    numerator: float = table.both * table.neither - table.only_a * table.only_b
    if numerator > 0:
        numerator = max(numerator - n / 2, 0.0)
    return numerator / sqrt(product)


def _index(
    records: Sequence[Record], key: Callable[[Record], tuple[str, ...]], side: str
) -> dict[tuple[str, ...], Record]:
    index: dict[tuple[str, ...], Record] = {}
    for record in records:
        name = key(record)
        if name in index:
            raise UserError(
                f"run {side} holds more than one record of question {record.id!r} that would be "
                f"paired: {_contents(records)}. Choose one with --scoring-{side.lower()} and "
                f"--debias-{side.lower()}."
            )
        index[name] = record
    return index


def _contents(records: Sequence[Record]) -> str:
    kinds = dict.fromkeys((r.benchmark, r.scoring, r.debias) for r in records)
    return ", ".join(f"{b} ({s}, debias {d})" for b, s, d in kinds) or "nothing"
