"""``galenic report`` as a user runs it."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from galenic.cli.main import app
from galenic.errors import UserError
from runs import write_run


def test_report_goes_into_the_first_run_by_default(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", num_items=8)
    result = CliRunner().invoke(app, ["report", str(folder)])
    assert result.exit_code == 0
    written = [Path(line) for line in result.stdout.splitlines()]
    assert written == [folder / "report" / f"report.{kind}" for kind in ("md", "html", "json")]
    assert all(path.stat().st_size > 1000 for path in written)


def test_several_runs_go_into_the_named_folder(tmp_path: Path) -> None:
    names = ["dense", "stopped"]
    folders = [
        write_run(tmp_path / name, num_items=8, keep=keep)
        for name, keep in zip(names, (8, 5), strict=True)
    ]
    result = CliRunner().invoke(app, ["report", *map(str, folders), "-o", str(tmp_path / "both")])
    assert result.exit_code == 0
    assert "incomplete: 5 of 8 answers" in result.stderr
    text = (tmp_path / "both" / "report.md").read_text(encoding="utf-8")
    assert all(f"### {name}" in text for name in names)
    assert not (folders[0] / "report").exists()


def test_what_is_no_run_leaves_nothing_behind(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(tmp_path), "-o", str(tmp_path / "out")])
    assert isinstance(result.exception, UserError)
    assert not (tmp_path / "out").exists()


def test_help_shows_the_examples() -> None:
    result = CliRunner().invoke(app, ["report", "--help"])
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert "galenic report runs/dense runs/compressed -o comparison" in lines
