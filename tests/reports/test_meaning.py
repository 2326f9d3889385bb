"""The sentences at the top of a report, on rows made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from galenic.reports.meaning import meaning_of_rows, meaning_of_study


def row(title: str, against: str, collapse: tuple[str, float] | None = None, **more: Any) -> Any:
    facts = {"run": "dense", "method": "letter", **more}
    baselines = SimpleNamespace(against_majority=against)
    return SimpleNamespace(title=title, collapse=collapse, baselines=baselines, **facts)


def test_a_run_is_said_in_words() -> None:
    rows = [row("MedMCQA", "above"), row("MedQA", "at"), row("PubMedQA", "at", ("yes", 0.97))]
    assert meaning_of_rows(rows) == [
        "The model does better on MedMCQA than always giving the commonest answer; it is at "
        "chance on MedQA and PubMedQA: always giving the commonest answer scores as much. To "
        "nearly everything it answers yes on PubMedQA (97%): there the accuracy is only the share "
        "of that answer."
    ]


def test_runs_and_scorings_are_named_where_there_are_several() -> None:
    rows = [row("A", "below", run="one"), row("A", "below", run="two", method="text")]
    first, second = meaning_of_rows(rows)
    assert first.startswith("one does worse on A than")
    assert second.startswith("two does worse on A than")
    both = meaning_of_rows([row("A", "at"), row("A", "above", method="text")])[0]
    assert "better on A (text)" in both
    assert "chance on A (letter)" in both


def study(*kept: tuple[str, int, float], collapse: tuple[str, float] | None = None) -> Any:
    rows = []
    for name, size, accuracy in kept:
        pooled = SimpleNamespace(
            accuracy_a=0.4, accuracy_b=accuracy, n=1000, difference=accuracy - 0.4,
            interval=(accuracy - 0.42, accuracy - 0.38),
        )  # fmt: skip
        cell = SimpleNamespace(made_by=None if name == "dense" else name, title=name)
        answers = {("pubmedqa", "letter"): SimpleNamespace(row=row("PubMedQA", "at", collapse))}
        rows.append(
            SimpleNamespace(
                cell=cell, pooled={"letter": pooled}, size={"file_bytes": size}, answers=answers
            )
        )
    return SimpleNamespace(
        rows=rows,
        scorings=["letter"],
        benchmarks={"pubmedqa": "PubMedQA"},
        name_of=lambda one: one.cell.title,
    )


def test_a_study_names_the_smallest_that_keeps_and_the_smallest() -> None:
    found = meaning_of_study(
        study(("dense", 100, 0.4), ("a", 60, 0.396), ("b", 50, 0.392), ("c", 30, 0.3))
    )
    assert [line.split(" (")[0] for line in found] == ["b", "c"]
    assert "keeps 98% of the original's accuracy: .392 of .400 on 1,000 questions" in found[0]
    assert "(difference −.008, 95 % −.028 to +.012)" in found[0]
    assert "keeps 75%" in found[1]


def test_a_study_in_which_nothing_was_kept_says_so_and_what_collapsed() -> None:
    found = meaning_of_study(study(("c", 30, 0.3), collapse=("yes", 0.99)))
    assert found[0] == "No smaller model keeps 97% of the original's accuracy."
    assert found[-1] == "On PubMedQA nearly all answers are the same: c (yes 99%)."


@pytest.mark.parametrize("share", [0.97, 0.9699])
def test_ninety_seven_percent_counts_as_kept(share: float) -> None:
    found = meaning_of_study(study(("a", 60, 0.4 * share)))
    assert (len(found) == 1) == (share >= 0.97)
