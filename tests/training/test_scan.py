"""Training data held against test sets: what is found, written and left out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from galenic.data.jsonl import encode_gzip, write_bytes
from galenic.data.sources import open_source
from galenic.errors import UserError
from galenic.registry import BENCHMARKS
from galenic.training.contamination import (
    count_hits,
    read_test_sets,
    refuse_contaminated,
    scan,
    training_rows,
    write_removed,
)
from galenic.training.near import ScanConfig
from galenic.training.sources import read_training

CONFIG = ScanConfig.model_validate({})
OPTIONS = {"A": "one", "B": "two", "C": "three", "D": "four"}


class Silent:
    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None: ...

    def advance(self, done: int, note: str = "") -> None: ...

    def say(self, text: str) -> None:
        self.said.append(text)

    def keep(self, text: str) -> None:
        self.said.append(text)


def sample_question(number: int) -> str:
    return open_source("sample").load("medqa_4options").examples[number].question


def test_a_benchmark_agrees_with_itself() -> None:
    tests = read_test_sets("all", "sample")
    assert [name for name, _ in tests] == [
        f"{name}:{BENCHMARKS.load(name).default_split}" for name in BENCHMARKS
    ]
    hits = scan(training_rows("medqa_4options:test", "sample"), tests, CONFIG, Silent())
    found = {(row["test_set"], row["kind"]): row["rows"] for row in count_hits(hits)}
    # Both forms ask the same questions.
    assert found["medqa_4options:test", "exact"] == found["medqa_5options:test", "exact"] == 20
    assert {hit.train.row.partition("/")[2] for hit in hits} == {hit.test.row for hit in hits}


def test_the_sample_s_own_training_rows_are_clean() -> None:
    rows = training_rows("benchmarks", "sample")
    assert scan(rows, read_test_sets("all", "sample"), CONFIG, Silent()) == []


def test_json_of_any_shape_and_text(tmp_path: Path) -> None:
    question = sample_question(3)
    mine = tmp_path / "mine.jsonl"
    chat = {"messages": [{"role": "user", "content": f"Hello. {question} Say A or B."}], "n": 3}
    rows = [{"text": "Nothing of that kind stands here."}, chat, {"q": question.upper()}]
    mine.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    notes = tmp_path / "notes.txt"
    notes.write_text(f"One paragraph.\n\n{question}\n", encoding="utf-8")
    found = training_rows(f"{mine}, {notes}", "sample")
    assert [(row.source, row.id) for row in found] == [
        ("mine.jsonl", "1"),
        ("mine.jsonl", "2"),
        ("mine.jsonl", "3"),
        ("notes.txt", "1"),
        ("notes.txt", "2"),
    ]
    hits = scan(found, read_test_sets("medqa_4options", "sample"), CONFIG, Silent())
    assert [(h.train.row, h.train.part, h.kind) for h in hits] == [
        ("mine.jsonl/2", "messages.0.content", "contained"),
        ("mine.jsonl/3", "q", "normalised"),
        ("notes.txt/2", "text", "exact"),
    ]
    out = tmp_path / "removed.jsonl.gz"
    assert write_removed(out, found, hits) == 3
    first = json.loads(gzip.decompress(out.read_bytes()).splitlines()[0])
    assert first["content"] == chat and first["id"] == "2"
    assert first["hits"][0]["test_set"] == "medqa_4options:test"
    assert first["hits"][0]["test_text"] == question


def test_a_question_with_other_options_in_another_order(tmp_path: Path) -> None:
    [test, *_] = open_source("sample").load("medmcqa").examples
    options = list(test.options.values())[::-1]
    own = {"question": test.question + " now", "options": options, "answer": 0}
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps(own), encoding="utf-8")
    tests = read_test_sets(str(path), "sample")
    hits = scan(training_rows("medmcqa:validation", "sample"), tests, CONFIG, Silent())
    assert [(h.train.row, h.kind) for h in hits] == [(f"medmcqa/{test.id}", "near")]


def folder_with(tmp_path: Path, questions: list[str]) -> Path:
    rows = [
        {"id": f"r{i}", "question": question, "options": OPTIONS, "answer": "A"}
        for i, question in enumerate(questions)
    ]
    write_bytes(tmp_path / "data/medmcqa/train_partial.jsonl.gz", encode_gzip(rows))
    (tmp_path / "data/manifest.json").write_text('{"files": {}}')
    return tmp_path / "data"


def test_tested_rows_are_not_trained_on(tmp_path: Path) -> None:
    plain = [f"Plain question number {i} about something of its own?" for i in range(60)]
    folder = folder_with(tmp_path, [*plain, sample_question(0)])
    sets = read_training("medmcqa", folder)
    tests = read_test_sets("all", "sample")
    removed, watcher = tmp_path / "removed.jsonl", Silent()
    kept, hits = refuse_contaminated(sets, tests, removed=removed, watcher=watcher)
    before = {row.id for row in (*sets[0].train, *sets[0].heldout)}
    after = {row.id for row in (*kept[0].train, *kept[0].heldout)}
    assert before - after == {"r60"} == {json.loads(removed.read_text())["id"]}
    assert {hit.kind for hit in hits} == {"exact"}
    assert "1 rows" in watcher.said[0] and "taken out" in watcher.said[0]
    kept, again = refuse_contaminated(sets, tests, removed=removed, watcher=watcher, allow=True)
    assert kept == sets and again == hits and "left in" in watcher.said[1]


def test_a_test_set_is_refused(tmp_path: Path) -> None:
    questions = [sample_question(i) for i in range(20)]
    sets = read_training("medmcqa", folder_with(tmp_path, questions))
    removed = tmp_path / "removed.jsonl"
    with pytest.raises(UserError, match="training rows are test questions"):
        refuse_contaminated(
            sets, read_test_sets("all", "sample"), removed=removed, watcher=Silent()
        )
    assert not removed.exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (",", "nothing to compare"),
        ("medquad", "MedQuAD is read from a folder"),
        ("medqua", "unknown benchmark"),
        ("medmcqa:tset", "unknown split"),
        ("missing.jsonl", "does not exist"),
        ("missing.txt", "cannot be read"),
    ],
)
def test_wrong_names(names: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        training_rows(names, "sample")


@pytest.mark.slow
def test_real_training_rows(data_dir: Path) -> None:
    rows = training_rows("medqa,medmcqa", data_dir)
    tests = read_test_sets("medqa_5options,medqa_5options:dev,medmcqa", data_dir)
    hits = scan(rows, tests, CONFIG, Silent())
    pairs = {(hit.train.row.partition("/")[2], hit.test.row) for hit in hits}
    known = {
        (row.id, test)
        for row in rows
        for test in row.content.get("meta", {}).get("near_eval") or ()
    }
    # The vignettes that the publisher of this copy found to be shared.
    assert len(known) == 7 and known <= pairs
    assert {hit.kind for hit in hits} == {"near"} and len(pairs) < 25
