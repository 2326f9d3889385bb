from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.data.benchmarks import original_label, rotate
from galenic.data.benchmarks.base import Benchmark
from galenic.data.example import Example
from galenic.data.sources import open_source
from galenic.registry import BENCHMARKS

LETTERED = Example(
    id="q",
    question="Which?",
    context=None,
    options={"A": "one", "B": "two", "C": "six"},
    answer="C",
)
YES_NO = Example(
    id="p",
    question="Does it?",
    context="First.\nSecond.",
    options={"yes": "yes", "no": "no", "maybe": "maybe"},
    answer="no",
)


def load(name: str) -> Benchmark:
    benchmark: Benchmark = BENCHMARKS.load(name)
    return benchmark


@pytest.mark.parametrize("name", ["medqa_4options", "medqa_5options", "medmcqa"])
def test_lettered_prompt(name: str) -> None:
    benchmark = load(name)
    assert benchmark.prompt(LETTERED) == "Question: Which?\nA. one\nB. two\nC. six\nAnswer:"
    assert benchmark.stem(LETTERED) == "Question: Which?"


def test_context_stands_first() -> None:
    example = Example("q", "Which?", "Read this.", {"A": "one", "B": "two"}, "A")
    prompt = load("medmcqa").prompt(example)
    assert prompt == "Context: Read this.\nQuestion: Which?\nA. one\nB. two\nAnswer:"


def test_pubmedqa_prompt_shows_no_options() -> None:
    benchmark = load("pubmedqa")
    expected = "Abstract: First.\nSecond.\nQuestion: Does it?\nAnswer:"
    assert benchmark.prompt(YES_NO) == expected
    assert benchmark.stem(YES_NO) == "Abstract: First.\nSecond.\nQuestion: Does it?"


def test_cut_context_takes_the_place_of_the_whole() -> None:
    benchmark = load("pubmedqa")
    cut = benchmark.prompt(YES_NO, context="Second.")
    assert cut == "Abstract: Second.\nQuestion: Does it?\nAnswer:"
    assert benchmark.prompt(YES_NO, context="") == "Question: Does it?\nAnswer:"


def test_registered_benchmarks_agree_with_their_names() -> None:
    for name in BENCHMARKS:
        benchmark = load(name)
        assert benchmark.name == name
        assert benchmark.version >= 1
        assert benchmark.default_split in benchmark.splits
        assert benchmark.fewshot_split in benchmark.splits
        assert benchmark.fewshot_split != benchmark.default_split
        assert benchmark.labelled == (name != "pubmedqa")


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_real_prompts(data_dir: Path, name: str) -> None:
    dataset = open_source(data_dir).load(name)
    for example in dataset.examples:
        prompt = dataset.benchmark.prompt(example)
        assert prompt.endswith("\nAnswer:")
        assert prompt.count(example.question) >= 1
        shown = [line for line in prompt.split("\n") if line[:3] in {f"{x}. " for x in "ABCDE"}]
        if dataset.benchmark.labelled:
            options = [f"{label}. {text}" for label, text in example.options.items()]
            assert prompt.split("\nA. ", 1)[0] == f"Question: {example.question}"
            assert prompt.endswith("\n".join(["", *options, "Answer:"]))
        else:
            assert example.context is not None
            assert prompt.startswith(f"Abstract: {example.context}\nQuestion: ")
            assert not shown


def test_rotation_by_hand() -> None:
    turned = rotate(LETTERED, 1)
    assert dict(turned.options) == {"A": "two", "B": "six", "C": "one"}
    assert turned.answer == "B"
    assert original_label("ABC", "A", 1) == "B"
    assert (turned.id, turned.question, turned.meta) == ("q", "Which?", {})
    assert rotate(LETTERED, 0) == LETTERED


@given(k=st.integers(2, 7), answer=st.integers(0, 6), r=st.integers(-20, 20))
def test_rotations_move_texts_and_answer_together(k: int, answer: int, r: int) -> None:
    labels = list("ABCDEFG"[:k])
    options = {label: f"text {label}" for label in labels}
    example = Example("q", "Which?", None, options, labels[answer % k])
    turned = rotate(example, r)
    assert list(turned.options) == labels
    assert turned.options[turned.answer] == example.options[example.answer]
    assert original_label(labels, turned.answer, r) == example.answer
    for i, label in enumerate(labels):
        assert turned.options[label] == options[labels[(i + r) % k]]
        assert turned.options[label] == options[original_label(labels, label, r)]
    assert rotate(turned, k - r) == example
    again = example
    for _ in range(k):
        again = rotate(again, 1)
    assert again == example


def test_every_real_question_can_be_turned(data_dir: Path) -> None:
    # MedMCQA has picture questions whose options are the letters themselves
    source = open_source(data_dir)
    letters = 0
    for name in ("medqa_4options", "medqa_5options", "medmcqa"):
        for example in source.load(name).examples:
            labels = list(example.options)
            letters += name == "medmcqa" and labels == list(example.options.values())
            for r in range(len(labels)):
                turned = rotate(example, r)
                assert original_label(labels, turned.answer, r) == example.answer
                assert turned.options[turned.answer] == example.options[example.answer]
    assert letters == 7


def test_answer_words_have_one_order() -> None:
    assert load("pubmedqa").num_rotations(YES_NO) == 1
    assert load("medqa_5options").num_rotations(LETTERED) == 3
