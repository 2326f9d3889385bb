"""Kinds of questions, and errors by kind, against hand counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from galenic.evaluation.failures import KINDS, errors_by_kind, errors_by_subject, kinds_of
from galenic.evaluation.metrics import wilson_interval
from galenic.evaluation.records import Record


@dataclass
class Asked:
    question: str
    options: dict[str, str] = field(default_factory=lambda: {"A": "one", "B": "two"})
    meta: dict[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        (Asked("All are features except"), "negation"),
        (Asked("Which is NOT a cause?"), "negation"),
        (Asked("A 45 year-old man"), "numbers and doses"),
        (Asked("The dose?", {"A": "5 mg", "B": "ten"}), "numbers and doses"),
        (Asked("Treatment of COPD is"), "abbreviations"),
        (Asked("word " * 90), "long vignette"),
        (Asked("What is the next best step?"), "multi-step"),
        (Asked("Cause?", meta={"meta_info": "step2&3"}), "multi-step"),
        (Asked("True about insulin is"), "several statements"),
        (Asked("Insulin is", meta={"choice_type": "multi"}), "several statements"),
        (Asked("Seen in", {"A": "mice", "B": "All of the above"}), "all or none of the above"),
    ],
)
def test_kinds(question: Asked, kind: str) -> None:
    assert kind in kinds_of(question)


def test_plain_questions_are_of_no_kind() -> None:
    assert kinds_of(Asked("Where is insulin made?")) == ()
    assert kinds_of(Asked("WHERE IS INSULIN MADE?")) == ()
    assert len(KINDS) == 7


def record(number: int, *, right: bool) -> Record:
    return Record(
        benchmark="x", id=str(number), scoring="letter", gold="A", prediction="A" if right else "B"
    )


def test_errors_are_counted_by_kind() -> None:
    negated = [(Asked("All but not this"), record(i, right=i < 2)) for i in range(8)]
    plain = [(Asked("Where?"), record(i + 8, right=i < 9)) for i in range(12)]
    [found] = errors_by_kind([*negated, *plain])
    assert (found.kind, found.n, found.errors) == ("negation", 8, 6)
    assert found.rate == 6 / 8
    assert found.interval == wilson_interval(6, 8)
    assert found.share == pytest.approx(6 / 9)
    assert found.others == pytest.approx(3 / 12)


def test_few_questions_show_nothing_and_no_errors_share_nothing() -> None:
    assert errors_by_kind([(Asked("not"), record(i, right=False)) for i in range(4)]) == []
    [found] = errors_by_kind([(Asked("not"), record(i, right=True)) for i in range(5)])
    assert (found.share, found.others) == (0.0, None)


def test_subjects_come_from_the_data() -> None:
    asked = [
        (Asked("?", meta={"subject_name": "Anatomy"}), record(i, right=False)) for i in range(5)
    ]
    asked += [
        (Asked("?", meta={"meta_info": "step1"}), record(i + 5, right=True)) for i in range(6)
    ]
    found = errors_by_subject(asked)
    assert [(one.kind, one.n, one.errors) for one in found] == [("Anatomy", 5, 5), ("step1", 6, 0)]
