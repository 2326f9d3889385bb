"""Which validation is kept, and when to stop, on hand-made validations."""

from __future__ import annotations

import pytest

from galenic.training.early_stopping import Decision, Patience, best_of, judge
from galenic.training.validation import Validation

EVEN = {"A": 10, "B": 10}


def validations(*found: tuple[float, bool]) -> list[Validation]:
    """From losses, and whether all predictions are one answer."""
    return [
        Validation(step, loss, {"g": 0.5}, {"g": {"A": 20} if collapsed else EVEN}, {"g": EVEN})
        for step, (loss, collapsed) in enumerate(found)
    ]


@pytest.mark.parametrize(
    ("found", "best"),
    [
        ([(1.0, False), (0.8, False), (0.9, False)], 1),
        ([(1.0, True), (0.5, True), (0.9, False)], 2),  # without collapse before the lower loss
        ([(1.0, True), (0.5, True), (1.1, False)], 1),  # but not where nothing was learnt
        ([(1.0, False), (0.5, True)], 0),
        ([(1.0, False), (1.0, False)], 0),
    ],
)
def test_the_best_look(found: list[tuple[float, bool]], best: int) -> None:
    assert best_of(validations(*found)).step == best


def test_patience_ends_after_looks_that_are_no_better() -> None:
    found = validations((1.0, False), (0.8, False), (0.9, False), (0.85, False))
    assert judge(found[:3], Patience(2, 9)) == Decision()
    decision = judge(found, Patience(2, 9))
    assert not decision.collapsed
    assert decision.reason == (
        "nothing was better than step 1 (held-out loss 0.8000) for 2 validations in a row"
    )


def test_a_collapse_counts_only_in_a_row_and_behind_the_rise() -> None:
    found = validations((1.0, True), (0.9, True), (0.8, False), (0.7, True), (0.6, True))
    assert judge(found[:2], Patience(9, 2, rise=1)) == Decision()
    assert judge(found[:2], Patience(9, 2, rise=-1)).collapsed
    assert judge(found[:4], Patience(9, 2)) == Decision()
    decision = judge(found, Patience(9, 2, unit="round"))
    assert decision.collapsed
    assert "(g: 'A') for 2 rounds in a row" in decision.reason
