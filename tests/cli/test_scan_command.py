"""`galenic scan` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from galenic.cli.main import app
from galenic.data.sources import open_source
from galenic.errors import UserError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["scan", *arguments])


def planted(tmp_path: Path) -> Path:
    question = open_source("sample").load("medmcqa").examples[0].question
    path = tmp_path / "mine.jsonl"
    rows = [{"text": "Something else altogether."}, {"text": question.upper()}]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_it_finds_shows_and_writes(tmp_path: Path) -> None:
    out = tmp_path / "removed.jsonl"
    done = run("--train", str(planted(tmp_path)), "--data", "sample", "-o", str(out))
    assert done.exit_code == 0, done.output
    assert "2 training rows against pubmedqa:test (20)" in done.output
    assert "normalised 1.00  mine.jsonl/2 ~ medmcqa:validation" in done.output
    [row] = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert row["id"] == "2" and row["hits"][0]["kind"] == "normalised"


def test_json_and_nothing_found(tmp_path: Path) -> None:
    train, data = ("--train", str(planted(tmp_path))), ("--data", "sample")
    result = json.loads(run(*train, *data, "--json", "--threshold", "0.8").stdout)
    assert result["config"]["threshold"] == 0.8 and result["train_rows"] == 2
    assert result["test_rows"]["medmcqa:validation"] == 20
    assert [(row["test_set"], row["rows"]) for row in result["found"]] == [
        ("medmcqa:validation", 1)
    ]
    done = run(*train, *data, "--against", "pubmedqa")
    assert "None is a test question" in done.output


def test_mistakes_cost_no_work(tmp_path: Path) -> None:
    train = ("--train", str(planted(tmp_path)), "--data", "sample")
    for arguments, message in (
        ((*train, "-o", str(tmp_path / "no/where.jsonl")), "there is no folder"),
        ((*train, "--against", "medmkqa"), "unknown benchmark"),
        (("--train", "medquad", "--data", "sample"), "MedQuAD is read from a folder"),
        ((*train, "--threshold", "0"), "--threshold 0.0"),
    ):
        done = run(*arguments)
        assert isinstance(done.exception, UserError) and message in str(done.exception)
