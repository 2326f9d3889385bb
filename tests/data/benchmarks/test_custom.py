import json
from pathlib import Path
from typing import Any

import pytest

from galenic.data.benchmarks.custom import custom_benchmark, parse_custom
from galenic.data.rows import RowError
from galenic.data.sources import Dataset, open_source
from galenic.errors import UserError

ROW: dict[str, Any] = {"question": "Which?", "options": ["one", "two", "three"], "answer": 2}


def load(path: Path, rows: list[dict[str, Any]]) -> Dataset:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return open_source("sample").load(custom_benchmark(path))


@pytest.mark.parametrize(
    ("options", "answer", "label"),
    [
        (["one", "two"], 0, "A"),
        (["one", "two"], "B", "B"),
        (["one", "two"], "two", "B"),
        ({"1": "one", "2": "two"}, "2", "2"),
        ({"x": "one", "y": "two"}, "two", "y"),
        ({"A": "B", "B": "A"}, "A", "A"),  # a label goes before a text
        (["4", "3", "2", "1"], 2, "C"),  # both readings are the same
        (["A", "B", "AB", "O"], "B", "B"),
        (["O", "A", "B", "AB"], "AB", "D"),
        (["0", "1", "2"], 1, "B"),
    ],
)
def test_answer_as_label_text_or_index(options: object, answer: object, label: str) -> None:
    example = parse_custom({**ROW, "id": "q", "options": options, "answer": answer})
    assert example.answer == label


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"answer": 3}, "`answer` 3 is no index of 3 options (from 0)"),
        ({"answer": -1}, "`answer` is missing"),
        ({"answer": True}, "none of the options"),
        ({"answer": 1, "options": {"A": "one", "B": "two"}}, "give a label"),
        ({"answer": "four"}, "`answer` 'four' is none of the options A, B, C"),
        ({"answer": "same", "options": ["same", "same"]}, "the text of 2 options: give a label"),
        ({"answer": None}, "`answer` is missing"),
        ({"answer": "B", "options": ["O", "A", "B", "AB"]}, "means option B ('A') as letter, C"),
        (
            {"answer": "E", "options": ["E", "D", "C", "B", "A"]},
            "A ('E') as text: say what is meant with --answers-are",
        ),
        (
            {"answer": 3, "options": ["4", "3", "2", "1"]},
            "option D ('1') as place from 0, B ('3') as",
        ),
        ({"answer": 1, "options": ["1", "2", "3"]}, "--answers-are letters, indices"),
        ({"options": ["one"]}, "at least two options, found 1"),
        ({"options": ["x"] * 27}, "at most 26"),
        ({"options": "one, two"}, "must be an object"),
        ({"question": ""}, "`question` is empty"),
    ],
)
def test_broken_rows(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(RowError) as error:
        parse_custom({**ROW, "id": "q", **changes})
    assert problem in str(error.value)


def test_loads_through_any_source(tmp_path: Path) -> None:
    rows = [{**ROW, "id": "mine", "topic": "x"}, {**ROW, "context": "Read this."}, {**ROW, "id": 7}]
    dataset = load(tmp_path / "My questions.jsonl", rows)
    assert [example.id for example in dataset.examples] == ["mine", "line-2", "7"]
    assert dataset.examples[0].meta == {"topic": "x"}
    assert (dataset.file, dataset.checksum) == ("My questions.jsonl", "unknown")
    assert dataset.benchmark.name == "custom_my_questions"
    prompt = dataset.benchmark.prompt(dataset.examples[1])
    assert prompt == "Context: Read this.\nQuestion: Which?\nA. one\nB. two\nC. three\nAnswer:"


def test_answer_words_of_pubmedqa_are_asked_as_there(tmp_path: Path) -> None:
    words = {word: word for word in ("yes", "no", "maybe")}
    row = {"context": "It does.", "question": "Does it?", "options": words, "answer": "yes"}
    dataset = load(tmp_path / "q.jsonl", [row, {**row, "answer": "no"}])
    prompt = dataset.benchmark.prompt(dataset.examples[0])
    assert prompt == "Abstract: It does.\nQuestion: Does it?\nAnswer:"
    assert dataset.benchmark.num_rotations(dataset.examples[0]) == 1
    assert (dataset.benchmark.name, dataset.benchmark.version) == ("custom_q", 2)
    for other in (ROW, {**row, "options": {"yes": "yes", "no": "no"}}):  # all rows must have them
        dataset = load(tmp_path / "q.jsonl", [row, other])
        prompt = dataset.benchmark.prompt(dataset.examples[0])
        assert prompt.startswith("Context: It does.") and "\nyes. yes\n" in prompt
        assert dataset.benchmark.version == 1


def test_error_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    with pytest.raises(UserError) as error:
        load(path, [ROW, {**ROW, "answer": "?"}])
    assert str(error.value) == f"{path}, line 2: `answer` '?' is none of the options A, B, C."


def test_training_file_beside_it_gives_fewshot_examples(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    assert "train" not in load(path, [ROW]).benchmark.splits
    (tmp_path / "q_train.jsonl").write_text(json.dumps({**ROW, "question": "Solved?"}) + "\n")
    benchmark = custom_benchmark(path)
    train = open_source("sample").load(benchmark, benchmark.fewshot_split)
    assert [example.question for example in train.examples] == ["Solved?"]


def test_missing_file_and_wrong_ending(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.jsonl does not exist"):
        custom_benchmark(tmp_path / "no.jsonl")
    with pytest.raises(UserError, match=r"must end in \.jsonl.*\.csv.*\.xlsx"):
        custom_benchmark(tmp_path / "q.doc")
