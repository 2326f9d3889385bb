"""Statements turned into questions, and what is made of whole abstracts."""

from __future__ import annotations

from pathlib import Path

import pytest

from galenic.data.example import Example
from galenic.data.sources import open_source
from galenic.errors import UserError
from galenic.registry import BENCHMARKS
from galenic.training.artificial import artificial_questions, parse_with_conclusion, turn_sentence
from galenic.training.sources import LabelText, read_training

OPTIONS = {word: word for word in ("yes", "no", "maybe")}


@pytest.mark.parametrize(
    ("sentence", "question", "denied"),
    [
        ("Age was not associated with recurrence (p=0.4).", "Is age associated with recurrence?",
         True),
        ("TAVI can be performed safely without balloon predilatation.",
         "Can TAVI be performed safely without balloon predilatation?", False),
        ("These results suggest that statins reduce the risk of stroke.",
         "Do statins reduce the risk of stroke?", False),
        ("In conclusion, early surgery improved the quality of life.",
         "Does early surgery improve the quality of life?", False),
        ("There was no difference in survival between groups.",
         "Is there any difference in survival between groups?", True),
        ("The drug had no effect on blood pressure.",
         "Does the drug have any effect on blood pressure?", True),
        ("No association was observed between diet and asthma.",
         "Is any association observed between diet and asthma?", True),
        ("The scan cannot replace biopsy, although it is quick.", "Can the scan replace biopsy?",
         True),
        ("Screening has been shown to be useful.", "Has screening been shown to be useful?", False),
    ],
)  # fmt: skip
def test_a_statement_is_turned_into_a_question(sentence: str, question: str, denied: bool) -> None:
    found = turn_sentence(sentence)
    assert found is not None
    assert (found.question, found.denied) == (question, denied)


@pytest.mark.parametrize(
    "sentence",
    [
        "Further work.",
        "We were able to identify several factors of risk.",
        "The mean age was 43 years in both groups.",
        "Patients who are old may benefit from this.",
        "It is so.",
        "",
    ],
)
def test_other_sentences_are_left_alone(sentence: str) -> None:
    assert turn_sentence(sentence) is None


def test_an_opposite_is_asked_every_other_time() -> None:
    example = Example("a", "Own question?", "Some abstract.", OPTIONS, "yes")
    text = "The rate was higher in smokers. The risk was lower in women. Age was not a risk factor."
    [asked] = [parse_with_conclusion(row(example, text))]
    found = artificial_questions([asked])
    assert [(one.question, one.answer) for one in found] == [
        ("Is the rate lower in smokers?", "no"),
        ("Is the risk lower in women?", "yes"),
        ("Is age a risk factor?", "no"),
    ]
    assert {one.context for one in found} == {"Some abstract."}
    assert len({one.id for one in found}) == 3
    assert "Own question?" not in {one.question for one in found}


def row(example: Example, conclusion: str) -> dict[str, object]:
    shown = {name: getattr(example, name) for name in ("id", "question", "context", "answer")}
    return {**shown, "options": OPTIONS, "long_answer": conclusion}


def test_results_are_read_and_methods_are_not() -> None:
    context = "Age was measured.\nObesity was associated with asthma in boys."
    example = {
        **row(Example("a", "Q?", context, OPTIONS, "yes"), ""),
        "context_labels": ["METHODS", "RESULTS"],
    }
    [found] = artificial_questions([parse_with_conclusion(example)])
    assert (found.question, found.answer) == ("Is obesity associated with asthma in boys?", "yes")


def test_only_pubmedqa_has_abstracts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only pubmedqa"):
        read_training("medmcqa:artificial", "sample")


def test_no_test_question_and_no_conclusion_is_shown(data_dir: Path) -> None:
    source = open_source(data_dir)
    tested = {row.context for row in source.load("pubmedqa").examples}
    [made] = read_training("pubmedqa:artificial", data_dir)
    assert len(made.train) > 500
    assert not made.heldout
    assert not tested & {row.context for row in made.train if isinstance(row, Example)}
    folds = {row.meta["cv_fold"] for row in made.train if isinstance(row, Example)}
    assert folds == set(range(9))
    benchmark = BENCHMARKS.load("pubmedqa")
    abstracts = {row.context for row in source.load("pubmedqa", "cv").examples}
    for text in made.texts(seed=0, epoch=0):
        assert isinstance(text, LabelText)
        assert text.prompt == benchmark.prompt(text.example)
        assert text.example.context in abstracts  # nothing was added to it
        assert "conclusion" in text.example.meta
    answers = [row.answer for row in made.train if isinstance(row, Example)]
    assert 0.3 < answers.count("no") / len(answers) < 0.5
