"""``galenic compare`` as a user runs it."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from scipy.stats import binomtest
from typer.testing import CliRunner, Result

from galenic.cli.main import app
from galenic.errors import UserError
from galenic.reports.runs import load_run
from galenic.reports.terminal import summary_table
from runs import write_run


def compare(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    common = {"benchmarks": ["pubmedqa", "medmcqa"], "scorings": ["letter", "text"]}
    return (
        write_run(tmp_path / "a", skill=3, num_items=40, **common),  # type: ignore[arg-type]
        write_run(tmp_path / "b", skill=0, num_items=40, seed=1, keep=150, **common),  # type: ignore[arg-type]
    )


def read(folder: Path) -> dict[tuple[str, str, str], dict[str, object]]:
    lines = (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return {(r["benchmark"], r["scoring"], r["id"]): r for r in records}


def test_json_equals_a_naive_count(runs: tuple[Path, Path]) -> None:
    result = compare(*runs, "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert (document["unpaired_a"], document["unpaired_b"]) == (10, 0)
    a, b = read(runs[0]), read(runs[1])
    kinds = [(group["benchmark"], group["scoring_a"]) for group in document["groups"]]
    assert kinds == [(n, s) for n in ("pubmedqa", "medmcqa", "all") for s in ("letter", "text")]
    for group, kind in zip(document["groups"], kinds, strict=True):
        keys = [k for k in a if kind in (k[:2], ("all", k[1])) and k in b]
        right_a = {k for k in keys if a[k]["prediction"] == a[k]["gold"]}
        right_b = {k for k in keys if b[k]["prediction"] == b[k]["gold"]}
        assert group["n"] == len(keys)
        assert {won["id"] for won in group["a_wins"]} == {k[2] for k in right_a - right_b}
        assert {won["id"] for won in group["b_wins"]} == {k[2] for k in right_b - right_a}
        assert group["difference"] == pytest.approx((len(right_b) - len(right_a)) / len(keys))
        low, high = group["interval"]
        assert low < group["difference"] < high
        lone = len(right_a - right_b), len(right_a ^ right_b)
        assert group["p_value"] == pytest.approx(binomtest(*lone).pvalue)
        changed = sum(a[k]["prediction"] != b[k]["prediction"] for k in keys)
        assert group["flipped"] == changed / len(keys)


def test_table_names_both_runs_the_unpaired_and_some_questions(runs: tuple[Path, Path]) -> None:
    result = compare(*runs, "--show", 2)
    text = " ".join(result.stdout.split())
    assert "incomplete: 150 of 160" in text
    assert "only one of the runs has them: 10 records of A, 0 of B" in text
    assert "<.0001" in text
    assert text.count("Which drug is given") <= 4 * 2 * 2
    assert "medmcqa letter: only run A is right (2 of" in text
    assert re.search(r"medmcqa-\d+: right \w, run A \w, run B \w ", text)
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "Which drug" not in compare(*runs, "--show", 0).stdout


def test_out_writes_everything(runs: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "difference.json"
    result = compare(*runs, "--out", out, "--show", 0)
    assert str(out) in result.stdout.replace("\n", "")
    assert json.loads(out.read_text(encoding="utf-8")) == json.loads(
        compare(*runs, "--json").stdout
    )
    result = compare(*runs, "--out", tmp_path / "nowhere" / "x.json")
    assert isinstance(result.exception, UserError)
    assert "there is no folder" in str(result.exception)


def test_two_scorings_of_one_run(runs: tuple[Path, Path]) -> None:
    result = compare(runs[0], "--scoring-a", "letter", "--scoring-b", "text", "--json")
    groups = json.loads(result.stdout)["groups"]
    assert [(g["scoring_a"], g["scoring_b"], g["n"]) for g in groups] == [
        ("letter", "text", n) for n in (40, 40, 80)
    ]


def test_what_permutations_change_in_one_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path, debias="permutations", position_bias=30, num_items=30)
    result = compare(folder, "--debias-a", "none", "--debias-b", "permutations", "--json")
    (group,) = json.loads(result.stdout)["groups"]
    assert (group["debias_a"], group["debias_b"], group["n"]) == ("none", "permutations", 30)
    assert group["flipped"] > 0.4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scoring-a", "letter", "--scoring-b", "letter"], "A and B are the same"),
        ([], "A and B are the same"),
        (["--scoring-a", "lettre"], "Did you mean 'letter'"),
        (["--debias-b", "prior"], "unknown --debias-b"),
    ],
)
def test_mistakes_are_told(runs: tuple[Path, Path], arguments: list[str], message: str) -> None:
    result = compare(runs[0], *arguments)
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)


def test_runs_without_common_questions_are_refused(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", benchmarks=["pubmedqa"], num_items=4)
    b = write_run(tmp_path / "b", benchmarks=["medmcqa"], num_items=4)
    result = compare(a, b)
    assert isinstance(result.exception, UserError)
    assert "A holds pubmedqa (letter, debias none); B holds medmcqa" in str(result.exception)


def test_another_version_of_the_prompt_is_refused(runs: tuple[Path, Path]) -> None:
    path = runs[1] / "run.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["data"][1]["version"] = 2
    path.write_text(json.dumps(manifest), encoding="utf-8")
    result = compare(*runs)
    assert isinstance(result.exception, UserError)
    assert "medmcqa has version 1 in A and 2 in B" in str(result.exception)


def test_names_of_exams_are_no_markup(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", num_items=9)
    for path in folder.glob("*.json*"):
        path.write_text(path.read_text().replace('"medmcqa"', '"[/red]"'))
    console = Console(file=StringIO(), width=200)
    console.print(summary_table(load_run(folder)))
    assert "[/red]" in console.file.getvalue()  # type: ignore[attr-defined]


def test_help_shows_the_examples() -> None:
    result = CliRunner().invoke(app, ["compare", "--help"], terminal_width=100)
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert "galenic compare runs/dense --scoring-a letter --scoring-b text" in lines
