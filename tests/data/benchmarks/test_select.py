import json
from pathlib import Path

import pytest

from galenic.data.benchmarks import resolve_benchmarks
from galenic.errors import UserError


def names(*given: str) -> list[str]:
    return [benchmark.name for benchmark in resolve_benchmarks(given)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["pubmedqa"], ["pubmedqa"]),
        (["medqa"], ["medqa_4options", "medqa_5options"]),
        (["medmcqa, medqa,medmcqa"], ["medmcqa", "medqa_4options", "medqa_5options"]),
        (["medqa_5options", "medqa"], ["medqa_5options", "medqa_4options"]),
        (["all"], ["pubmedqa", "medqa_4options", "medqa_5options", "medmcqa"]),
        (["sample"], ["pubmedqa", "medqa_4options", "medqa_5options", "medmcqa"]),
    ],
)
def test_groups_commas_order_and_repeats(given: list[str], expected: list[str]) -> None:
    assert names(*given) == expected


def test_near_name_is_suggested() -> None:
    with pytest.raises(UserError, match=r"unknown benchmark 'pubmed'\. Did you mean 'pubmedqa'"):
        resolve_benchmarks(["pubmed"])


def test_nothing_named() -> None:
    with pytest.raises(UserError, match=r"no benchmark is named\. Known: pubmedqa"):
        resolve_benchmarks([" , "])


def test_question_files(tmp_path: Path) -> None:
    row = {"question": "Which?", "options": ["one", "two"], "answer": 0}
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "q.jsonl").write_text(json.dumps(row))
    first, second = (str(tmp_path / folder / "q.jsonl") for folder in ("a", "b"))
    assert names(first, "pubmedqa", first) == ["custom_q", "pubmedqa"]
    with pytest.raises(UserError, match="two sets of questions would both be called 'custom_q'"):
        resolve_benchmarks([first, second])


def test_sample_and_the_real_set_do_not_share_a_run() -> None:
    with pytest.raises(UserError, match=r"called 'medmcqa'.*MedMCQA, sample and MedMCQA"):
        resolve_benchmarks(["sample", "medmcqa"])
