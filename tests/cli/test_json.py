"""What programs read: `--json` on every command that prints results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from galenic.artifact.pack import pack
from galenic.cli.main import app
from galenic.cli.output import written
from galenic.home import assistant_folder
from galenic.watcher import SilentWatcher
from tiny import write_tiny_gguf

TALKS = {"chat", "serve"}
"""Commands that go on until they are stopped."""


def test_every_command_that_ends_has_json() -> None:
    commands = typer.main.get_group(app).commands
    without = {
        name
        for name, command in commands.items()
        if not any("--json" in option.opts for option in command.params)
    }
    assert without == TALKS


def test_unpack_lists_what_it_wrote(tmp_path: Path) -> None:
    model = write_tiny_gguf(tmp_path / "model.gguf")
    pack(str(model), tmp_path / "model.galenic", SilentWatcher())
    target = tmp_path / "again.gguf"
    done = CliRunner().invoke(
        app, ["unpack", str(tmp_path / "model.galenic"), "-o", str(target), "--json"]
    )
    assert done.exit_code == 0, done.output
    size = model.stat().st_size
    assert json.loads(done.stdout) == {"path": str(target), "files": {"again.gguf": size}}


def test_purge_lists_what_it_deleted_and_asks_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = assistant_folder() / "history.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("12345", encoding="utf-8")
    refused = CliRunner().invoke(app, ["purge", "--json"], input="n\n")
    assert refused.exit_code == 1
    assert "{" not in refused.stdout
    assert kept.exists()
    done = CliRunner().invoke(app, ["purge", "--yes", "--json"])
    assert json.loads(done.stdout) == {"path": str(assistant_folder()), "files": {str(kept): 5}}
    again = CliRunner().invoke(app, ["purge", "--json"])
    assert json.loads(again.stdout)["files"] == {}


def test_a_folder_is_listed_with_slashes_and_sizes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.txt").write_bytes(b"123")
    (tmp_path / "c.txt").write_bytes(b"")
    assert written(tmp_path) == {"path": str(tmp_path), "files": {"a/b.txt": 3, "c.txt": 0}}
