"""``galenic baseline`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from galenic.cli.main import app


def test_table_shows_the_paper_rows_within_eighty_columns(data_dir: Path) -> None:
    result = CliRunner().invoke(app, ["baseline", "--data", str(data_dir)])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(len(line) for line in lines) <= 80
    row = next(line for line in lines if "medqa_5options dev" in line).split()
    assert row[2:] == ["1272", "B", ".2193", ".0481", ".2193", ".0789", ".0720", ".2000", "same"]
    row = next(line for line in lines if "medmcqa validation" in line).split()
    assert row[2:7] == ["4183", "A", ".3223", ".1038", ".3223"]
    assert "not the official test's" in " ".join(result.stdout.split())


@pytest.mark.slow
def test_json_is_pure_and_complete(data_dir: Path) -> None:
    result = CliRunner().invoke(app, ["baseline", "--data", str(data_dir), "--json"])
    table = json.loads(result.stdout)
    assert [(row["benchmark"], row["split"]) for row in table["rows"]] == [
        ("pubmedqa", "test"),
        ("pubmedqa", "cv"),
        ("medqa_5options", "dev"),
        ("medqa_5options", "test"),
        ("medqa_4options", "dev"),
        ("medqa_4options", "test"),
        ("medmcqa", "validation"),
    ]
    assert [row["reproduces_paper"] for row in table["rows"]].count(True) == 2
    assert all(len(row["sha256"]) == 64 for row in table["rows"])


@pytest.mark.slow
def test_the_folder_may_come_from_the_environment(data_dir: Path) -> None:
    result = CliRunner().invoke(app, ["baseline"], env={"GALENIC_DATA": str(data_dir)})
    assert result.exit_code == 0
    assert "medqa_4options test" in result.stdout


def test_help_shows_each_example_on_its_own_line() -> None:
    result = CliRunner().invoke(app, ["baseline", "--help"])
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert "galenic baseline --data DIR" in lines
    assert "galenic baseline --data DIR --json" in lines
