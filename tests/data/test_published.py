"""The exams as their authors publish them: small files of the same shape."""

from __future__ import annotations

import json
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from commands import galenic
from galenic.data.jsonl import read_jsonl
from galenic.data.published import take_published
from galenic.data.sources import open_source
from galenic.errors import UserError


def medqa(letters: str) -> dict[str, Any]:
    return {
        "question": "Which metal does the blood need?",
        "answer": "Iron",
        "options": {letter: "Iron" if letter == "B" else f"Metal {letter}" for letter in letters},
        "meta_info": "step1",
        "answer_idx": "B",
    }


def medmcqa(cop: int) -> dict[str, Any]:
    row = {"id": f"abc-{cop}", "question": "Which vitamin?", "cop": cop, "choice_type": "single"}
    row |= {f"op{letter}": f"Vitamin {letter.upper()}" for letter in "abcd"}
    return row | {"exp": None, "subject_name": "Biochemistry", "topic_name": None}


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def zipped(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def pubmedqa() -> str:
    split = json.loads(files("galenic.data").joinpath("pubmedqa_split.json").read_text("utf-8"))
    pmids = [*split["test"], *(pmid for fold in split["cv_folds"] for pmid in fold)]
    return json.dumps(
        {
            str(pmid): {
                "QUESTION": f"Does it help ({pmid})?",
                "CONTEXTS": ["We asked.", "It did."],
                "LABELS": ["METHODS", "RESULTS"],
                "MESHES": ["Humans"],
                "YEAR": "2010",
                "reasoning_required_pred": "yes",
                "reasoning_free_pred": "no",
                "final_decision": "maybe",
                "LONG_ANSWER": "Perhaps.",
            }
            for pmid in pmids
        }
    )


def test_medqa_as_a_zip(tmp_path: Path) -> None:
    root = "data_clean/questions/US"
    path = zipped(
        tmp_path / "data_clean.zip",
        {
            f"{root}/test.jsonl": lines(medqa("ABCDE")),
            f"{root}/train.jsonl": lines(medqa("ABCDE"), medqa("ABCDE")),
            f"{root}/4_options/phrases_no_exclude_test.jsonl": lines(medqa("ABCD")),
            "data_clean/questions/Taiwan/test.jsonl": "not read",
            "data_clean/textbooks/en/Anatomy.txt": "not read",
        },
    )
    written = take_published(path, tmp_path / "data")
    assert sorted(one.relative_to(tmp_path / "data").as_posix() for one in written) == [
        "medqa/4options_test.jsonl.gz",
        "medqa/5options_test.jsonl.gz",
        "medqa/train_5options.jsonl.gz",
    ]
    source = open_source(tmp_path / "data")
    for name, number in (("medqa_4options", 4), ("medqa_5options", 5)):
        [example] = source.load(name, "test").examples
        assert len(example.options) == number
        assert example.answer == "B"
        assert example.id == "medqa-us-test-00000"


def test_medmcqa_counts_answers_from_one(tmp_path: Path) -> None:
    path = zipped(tmp_path / "data.zip", {"dev.json": lines(medmcqa(1), medmcqa(4))})
    take_published(path, tmp_path / "data")
    examples = open_source(tmp_path / "data").load("medmcqa").examples
    assert [one.answer for one in examples] == ["A", "D"]


def test_pubmedqa_as_its_repository_has_it(tmp_path: Path) -> None:
    (tmp_path / "pubmedqa-master/data").mkdir(parents=True)
    (tmp_path / "pubmedqa-master/data/ori_pqal.json").write_text(pubmedqa())
    written = take_published(tmp_path / "pubmedqa-master", tmp_path / "data")
    assert [len(list(read_jsonl(one).rows())) for one in written] == [500, 500, 1000]
    example = open_source(tmp_path / "data").load("pubmedqa").examples[0]
    assert (example.context, example.answer) == ("We asked.\nIt did.", "maybe")


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(lines(medmcqa(2)))
    [file] = take_published(tmp_path / "train.json", tmp_path / "data")
    before = file.read_bytes()
    (tmp_path / "train.json").write_text(lines(medmcqa(3)))
    assert take_published(tmp_path / "train.json", tmp_path / "data") == []
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"readme.txt": "x"}, "no published exam"),
        ({"dev.json": "[1]"}, "not as published"),
        ({"dev.json": "{"}, "line 1"),
        ({"dev.json": lines(medmcqa(5))}, "none of 1 to 4"),
        ({"dev.json": lines({"id": "x", "cop": 1})}, "not as published"),
        ({"dev.json": lines(medmcqa(1) | {"cop": True})}, "`cop` is True"),
        ({"dev.json": lines(medmcqa(1) | {"cop": "2"})}, "`cop` is '2'"),
        ({"dev.json": lines(medmcqa(1), medmcqa(1))}, "row 1: id 'medmcqa-abc-1' is there twice"),
        ({"dev.json": lines(medmcqa(1) | {"opa": ""})}, "row 0: option 'A' is empty"),
        ({"dev.json": ""}, "no question that can be used"),
        ({"train.json": lines(medmcqa(1) | {"opa": ""})}, "no question that can be used"),
        ({"US/test.jsonl": lines(medqa("ABCDE") | {"answer_idx": "Z"})}, "`answer` 'Z'"),
        ({"US/test.jsonl": lines(medqa("ABCDE") | {"answer_idx": None})}, "`answer` is missing"),
        ({"ori_pqal.json": "{}"}, "PMID"),
        ({"ori_pqal.json": '{"x": {}}'}, "not as published"),
        ({"ori_pqal.json": '{"1' + "0" * 9000 + '": {}}'}, "not as published"),
        ({"ori_pqal.json": "[]"}, "not as published"),
        ({"dev.json": "[" * 99_999}, "dev.json"),
        ({"questions/US/test.jsonl": lines(medqa("AB"))}, "options"),
        ({"dev.json": " " * 30_000_000}, "200 times its "),
    ],
)
def test_what_is_not_as_published(tmp_path: Path, members: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        take_published(zipped(tmp_path / "x.zip", members), tmp_path / "data")
    assert not (tmp_path / "data").exists()  # what is written is never made again


def test_a_training_set_loses_what_cannot_be_used(tmp_path: Path) -> None:
    bad = medmcqa(2) | {"opa": ""}
    path = zipped(tmp_path / "x.zip", {"train.json": lines(medmcqa(1), bad, medmcqa(3))})
    take_published(path, tmp_path / "data")
    kept = open_source(tmp_path / "data").load("medmcqa", "train").examples
    assert [one.id for one in kept] == ["medmcqa-abc-1", "medmcqa-abc-3"]


@pytest.mark.slow
def test_the_command_takes_an_archive(tmp_path: Path) -> None:
    path = zipped(tmp_path / "data.zip", {"dev.json": lines(medmcqa(1))})
    data = tmp_path / "data"
    done = galenic("data", "--from", path, "--data", data)
    assert done.returncode == 0, done.stderr
    assert "medmcqa/validation.jsonl.gz" in done.stdout
    assert "1 rows" in done.stdout or "1" in done.stdout
    done = galenic("data", "--from", tmp_path / "none.zip", "--data", data)
    assert done.returncode == 2
    assert "does not exist" in done.stderr
