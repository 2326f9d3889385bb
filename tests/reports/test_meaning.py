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
        "chance on MedQA and PubMedQA: always giving the commonest answer scores as much. It "
        "gives nearly the same answer to every question, yes on PubMedQA (97 %): there the "
        "accuracy is only the share of that answer."
    ]


def test_runs_and_scorings_are_named_where_there_are_several() -> None:
    rows = [row("A", "below", run="one"), row("A", "below", run="two", method="text")]
    first, second = meaning_of_rows(rows)
    assert first.startswith("one does worse on A than")
    assert second.startswith("two does worse on A than")
    both = meaning_of_rows([row("A", "at"), row("A", "above", method="text")])[0]
    assert both.startswith("The model does better on A (by text) than")
    assert "chance" not in both


def test_a_collapsed_answer_is_no_success_and_answers_are_named_once() -> None:
    rows = [row("A", "below"), row("A", "above", ("yes", 0.99), method="text")]
    rows += [
        row("B", "at", ("A", 1.0)),
        row("B", "below", method="text"),
        row("C", "at", ("A", 1.0)),
    ]
    assert meaning_of_rows(rows) == [
        "The model is at chance on A, B and C: always giving the commonest answer scores as much. "
        "It gives nearly the same answer to every question, yes on A (99 %) by text and A on B "
        "(100 %) and C (100 %) by letter: there the accuracy is only the share of that answer."
    ]


def study(
    *kept: tuple[str, int, float],
    collapse: tuple[str, float] | None = None,
    scorings: tuple[str, ...] = ("letter",),
    dense: str = "above",
) -> Any:
    """Models of a name, a size and an accuracy; by the first scoring they may have collapsed."""
    rows = []
    for name, size, accuracy in kept:
        pooled = SimpleNamespace(
            accuracy_a=0.4, accuracy_b=accuracy, n=1000, difference=accuracy - 0.4,
            interval=(accuracy - 0.42, accuracy - 0.38),
        )  # fmt: skip
        cell = SimpleNamespace(made_by=None if name == "dense" else name, title=name)
        answers = {
            ("pubmedqa", one): SimpleNamespace(
                row=row("PubMedQA", dense, collapse if one == scorings[0] else None)
            )
            for one in scorings
        }
        rows.append(
            SimpleNamespace(
                cell=cell,
                pooled=dict.fromkeys(scorings, pooled),
                size={"file_bytes": size},
                answers=answers,
            )
        )
    return SimpleNamespace(
        rows=rows,
        scorings=list(scorings),
        benchmarks={"pubmedqa": "PubMedQA"},
        name_of=lambda one: one.cell.title,
    )


def test_a_study_names_the_smallest_that_keeps_and_the_smallest() -> None:
    found = meaning_of_study(
        study(("dense", 100, 0.4), ("a", 60, 0.396), ("b", 50, 0.392), ("c", 30, 0.3))
    )
    assert [line.split(" (")[0] for line in found] == ["b", "c"]
    assert "keeps 98 % of the original's accuracy: .392 of .400 on 1,000 questions" in found[0]
    assert "(difference −.008, 95 % −.028 to +.012)" in found[0]
    assert "keeps 75 %" in found[1]


def test_a_study_in_which_nothing_was_kept_says_so_and_what_collapsed() -> None:
    found = meaning_of_study(study(("c", 30, 0.3), collapse=("yes", 0.99)))
    assert found[0] == "No smaller model keeps 97 % of the original's accuracy."
    assert (
        found[-1]
        == "Models that give nearly the same answer to everything: 1 of 1 on PubMedQA (yes)."
    )


def test_a_study_of_a_model_at_chance_says_so_first() -> None:
    found = meaning_of_study(study(("dense", 100, 0.4), ("b", 50, 0.4), dense="at"))
    assert found[0] == "The original model is at chance here, so there is no knowledge to keep."
    assert found[1].startswith("b (50 B) scores .400 instead of .400 on 1,000 questions")


def test_a_study_is_summed_up_by_the_scoring_with_the_fewest_collapsed() -> None:
    kept = (("dense", 100, 0.4), ("b", 50, 0.4))
    found = meaning_of_study(study(*kept, collapse=("yes", 0.99), scorings=("letter", "text")))
    assert found[0].startswith("By the scoring text: b (50 B) keeps 100 %")
    assert len(found) == 1


@pytest.mark.parametrize("share", [0.97, 0.9699])
def test_ninety_seven_percent_counts_as_kept(share: float) -> None:
    found = meaning_of_study(study(("a", 60, 0.4 * share)))
    assert (len(found) == 1) == (share >= 0.97)
