"""Training texts: what a model is asked, how often, and what it never sees."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from galenic.data.calibration import QuestionAnswer
from galenic.data.example import Example
from galenic.data.jsonl import encode_gzip, write_bytes
from galenic.data.sources import open_source
from galenic.errors import UserError
from galenic.evaluation.prompts import Prompter
from galenic.evaluation.scoring.letter import Letter
from galenic.evaluation.scoring.text import Text
from galenic.registry import BENCHMARKS
from galenic.training.near import words_of
from galenic.training.sources import (
    LabelText,
    SourceSpec,
    TrainingSet,
    epoch_texts,
    label_texts,
    option_texts,
    pair_texts,
    parse_sources,
    read_training,
    shuffle_options,
)

QUESTION = Example(
    "q1", "Which?", "Read this.", {"A": "one", "B": "two", "C": "three", "D": "four"}, "C"
)


def numbered(count: int) -> tuple[Example, ...]:
    options = {"A": "one", "B": "two", "C": "three", "D": "four"}
    return tuple(Example(f"q{i}", f"Number {i}?", None, options, "B") for i in range(count))


def test_a_label_text_is_what_evaluate_asks_and_scores() -> None:
    for name in BENCHMARKS:
        benchmark = BENCHMARKS.load(name)
        example = QUESTION
        if not benchmark.labelled:
            options = {word: word for word in ("yes", "no", "maybe")}
            example = Example("q1", "Is it?", "An abstract.", options, "maybe")
        for epoch in range(3):
            [text] = label_texts(benchmark, [example], seed=1, epoch=epoch)
            assert text.prompt == Prompter(benchmark, Letter()).text(text.example)
            assert text.answer == Letter().continuation(text.example, text.example.answer)
            assert dict(text.choices)[text.gold] == text.answer
            assert text.example.options[text.gold] == example.options[example.answer]
            if not benchmark.labelled:
                assert text.example == example
        [plain] = label_texts(benchmark, [example], seed=1, epoch=0, shuffle=False)
        assert plain.example == example


def test_an_option_text_is_answered_as_the_text_scoring_reads_it() -> None:
    benchmark = BENCHMARKS.load("medmcqa")
    [text] = option_texts(benchmark, [QUESTION])
    assert text.prompt == "Context: Read this.\nQuestion: Which?\nAnswer:"
    assert text.response == " three" == Text().continuation(QUESTION, "C")
    [pair] = pair_texts([QuestionAnswer("p", ("a", "b"), "topic", "What is it?", "It is.")])
    assert pair.prompt + pair.response == "Question: What is it?\nAnswer: It is."


def test_shuffling_is_fair_and_repeats_itself() -> None:
    benchmark = BENCHMARKS.load("medmcqa")
    examples = numbered(2000)
    first = label_texts(benchmark, examples, seed=0, epoch=0)
    assert first == label_texts(benchmark, examples, seed=0, epoch=0)
    # One question's order does not depend on its neighbours.
    assert first[7] == label_texts(benchmark, examples[7:8], seed=0, epoch=0)[0]
    assert first != label_texts(benchmark, examples, seed=0, epoch=1)
    assert first != label_texts(benchmark, examples, seed=1, epoch=0)
    counts = Counter(text.gold for text in first)
    # 500 expected, standard deviation 19: every answer was "B" before.
    assert all(abs(counts[label] - 500) < 80 for label in "ABCD")
    for text in first[:50]:
        assert sorted(text.example.options.values()) == ["four", "one", "three", "two"]


@pytest.mark.parametrize("text", ["Both A and B", "A & C", "A, B and D", "a/b", "B or C"])
def test_options_that_name_others_stay_in_place(text: str) -> None:
    example = Example("q", "Which?", None, {"A": "one", "B": "two", "C": text}, "C")
    for seed in range(20):
        assert shuffle_options(example, random.Random(seed)) == example


def test_weights_say_how_often_a_row_is_seen() -> None:
    benchmark = BENCHMARKS.load("medmcqa")

    def seen(weight: float, epoch: int) -> Counter[str]:
        one = TrainingSet("medmcqa", "label", numbered(10), (), benchmark, weight, "")
        return Counter(text.id for text in one.texts(seed=3, epoch=epoch))

    assert set(seen(1, 0).values()) == {1}
    assert set(seen(2, 0).values()) == {2}
    half, other = seen(0.5, 0), seen(0.5, 1)
    assert len(half) == len(other) == 5 and not half & other
    assert sum(seen(2.5, 0).values()) == 25
    assert set((seen(2.5, 0) + seen(2.5, 1)).values()) == {5}
    twice = TrainingSet("medmcqa", "label", numbered(10), (), benchmark, 2, "")
    orders = {(t.id, tuple(t.example.options.values())) for t in _labels(twice, 0)}
    assert len(orders) > 10  # the second time through, options stand elsewhere


def _labels(one: TrainingSet, epoch: int) -> list[LabelText]:
    return [text for text in one.texts(seed=3, epoch=epoch) if isinstance(text, LabelText)]


def test_sources_are_parsed_strictly() -> None:
    spec = "medquad, benchmarks:train=2,medmcqa:text=0.5,medqa:options@0.7=4"
    assert parse_sources(spec) == [
        SourceSpec("medquad", "pairs", 1.0),
        SourceSpec("benchmarks", "label", 2.0),
        SourceSpec("medmcqa", "text", 0.5),
        SourceSpec("medqa", "options", 4.0, 0.7),
    ]
    for wrong, message in (
        (",", "no training data"),
        ("medqa:test", "unknown form"),
        ("medqa=0", "weight must be above 0"),
        ("medqa=nan", "weight must be above 0"),
        ("medqa=x", "weight must be above 0"),
        ("medqa:options@0", "scale must be above 0"),
        ("medqa:options@=1", "scale must be above 0"),
        ("medqa:text@2", "@ works only with options, kept, artificial"),
    ):
        with pytest.raises(UserError, match=message):
            parse_sources(wrong)
    with pytest.raises(UserError, match="unknown benchmark 'medka'"):
        read_training("medka", "sample")
    with pytest.raises(UserError, match="MedQuAD is read from a folder"):
        read_training("medquad", "sample")


def row(number: int, question: str, **more: object) -> dict[str, object]:
    options = {"A": "one", "B": "two", "C": "three", "D": "four"}
    return {"id": f"r{number}", "question": question, "options": options, "answer": "A", **more}


def test_held_out_rows_are_no_training_rows(tmp_path: Path) -> None:
    train = [row(i, f"Question number {i}?") for i in range(200)]
    train += [row(200, "Near?", near_eval=["x"]), row(201, "  DEV one! ")]
    write_bytes(tmp_path / "medqa/train_partial_4options.jsonl.gz", encode_gzip(train))
    dev = [row(0, "Dev one")]
    write_bytes(tmp_path / "medqa/4options_dev.jsonl.gz", encode_gzip(dev))
    write_bytes(tmp_path / "medmcqa/train_partial.jsonl.gz", encode_gzip(train[:200]))
    (tmp_path / "manifest.json").write_text('{"files": {}}')
    [one] = read_training("medqa_4options", tmp_path)
    assert [each.id for each in one.train] == [f"r{i}" for i in range(200)]
    assert [each.question for each in one.heldout] == ["Dev one"]
    [carved] = read_training("medmcqa", tmp_path)
    assert 8 <= len(carved.heldout) <= 35 and len(carved.train) + len(carved.heldout) == 200
    assert {e.id for e in carved.train}.isdisjoint(e.id for e in carved.heldout)
    # Both hold the same questions, and what one holds out the other does not train on.
    both = read_training("medqa_4options,medmcqa", tmp_path)
    assert len(both[0].train) == len(carved.train)


def test_the_user_s_own_questions(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    rows = [
        f'{{"question": "Q {i}?", "options": ["x", "y"], "answer": {i % 2}}}' for i in range(60)
    ]
    path.write_text("\n".join(rows), encoding="utf-8")
    [one] = read_training(str(path), "sample")
    assert one.name == "custom_own" and len(one.train) + len(one.heldout) == 60
    assert epoch_texts([one], seed=0, epoch=0)[0].group == "custom_own"


def test_own_questions_with_pubmedqas_answers_are_learnt_as_they_are_asked(tmp_path: Path) -> None:
    words = {word: word for word in ("yes", "no", "maybe")}
    row = {"context": "It does.", "question": "Does it?", "options": words, "answer": "yes"}
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    [one] = read_training(f"{path}:options", "sample")
    [text] = one.texts(seed=0, epoch=0) or one.heldout_texts()
    assert isinstance(text, LabelText)
    assert text.prompt == "Abstract: It does.\nQuestion: Does it?\nAnswer:"


@pytest.mark.slow
def test_real_data_keeps_its_splits_apart(data_dir: Path) -> None:
    sets = read_training("medquad,benchmarks:train", data_dir)
    by_name = {one.name: one for one in sets}
    assert list(by_name) == ["medquad", *BENCHMARKS]
    assert len(by_name["pubmedqa"].train) == 450 and len(by_name["pubmedqa"].heldout) == 50
    assert len(by_name["medqa_4options"].train) == 2608 - 6
    trained = {words_of(row.question) for one in sets for row in one.train}
    looked_at = {words_of(row.question) for one in sets for row in one.heldout}
    assert not trained & looked_at
    medquad = by_name["medquad"]
    topics = [{p.topic for p in rows if isinstance(p, QuestionAnswer)} for rows in
              (medquad.train, medquad.heldout)]  # fmt: skip
    documents = [{p.document for p in rows if isinstance(p, QuestionAnswer)} for rows in
                 (medquad.train, medquad.heldout)]  # fmt: skip
    assert not documents[0] & documents[1]
    assert len(topics[0] & topics[1]) <= 5
    source = open_source(data_dir)
    for name in BENCHMARKS:
        tested = {words_of(e.question) for e in source.load(name).examples}
        # Nothing tested is trained on, in no set.
        assert not tested & trained
    texts = epoch_texts(sets, seed=0, epoch=0)
    assert len(texts) == sum(len(one.train) for one in sets)
    assert all(len(one.heldout_texts()) == len(one.heldout) for one in sets)
