"""What can be known of Windows and macOS on Linux: encodings, paths, parts of Python they lack."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path, PureWindowsPath

import pytest

import galenic
from galenic.artifact.pack import _check_names
from galenic.cli.main import main
from galenic.data.benchmarks.select import resolve_benchmarks
from galenic.errors import UserError
from galenic.units import split_commas


class Console(io.BytesIO):
    """What a program writes to, a console or a pipe."""

    def __init__(self, *, console: bool) -> None:
        super().__init__()
        self.console = console

    def isatty(self) -> bool:
        return self.console


def printed(monkeypatch: pytest.MonkeyPatch, *words: str, console: bool = False) -> bytes:
    """What `galenic data` prints where Python's encoding is that of Windows in Western Europe."""
    out = Console(console=console)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="cp1252", errors="strict"))
    monkeypatch.setattr(sys, "argv", ["galenic", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    sys.stdout.flush()
    return out.getvalue()


def test_a_pipe_gets_utf_8_where_the_default_is_cp1252(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exam = tmp_path / "prüfung-β.jsonl"
    row = {"question": "q", "options": {"A": "a", "B": "b"}, "answer": "A"}
    exam.write_text(json.dumps(row) + "\n", encoding="utf-8")
    shown = printed(monkeypatch, "scan", "--train", str(exam), "--against", str(exam), "--json")
    assert "prüfung-β" in shown.decode("utf-8")  # beta is not in cp1252


def test_a_console_shows_a_question_mark_for_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = printed(monkeypatch, "triage", "chest pain β", "--json", console=True)
    assert shown.decode("cp1252")


def test_a_drive_and_backslashes_are_one_path(monkeypatch: pytest.MonkeyPatch) -> None:
    given = r"C:\exams\mine.jsonl"
    assert split_commas(f"{given},medqa") == (given, "medqa")
    assert PureWindowsPath(given).name == "mine.jsonl"
    with pytest.raises(UserError, match=r"mine\.jsonl does not exist"):
        resolve_benchmarks([given])


@pytest.mark.parametrize(
    "names",
    [["a.txt", "A.TXT"], ["nul"], ["x/CON.json"], ["com1.bin"], ["x."], ["y "], ["a\\b"], ["C:x"]],
)
def test_a_packed_model_has_only_names_that_windows_can_store(names: list[str]) -> None:
    with pytest.raises(UserError):
        _check_names(Path("p.galenic"), names)


def test_usual_names_may_be_packed() -> None:
    _check_names(
        Path("p.galenic"), ["model.gguf", "README.md", "x/console.json", "nullable", ".gitignore"]
    )


def test_without_resource_and_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    from galenic.evaluation.run import _processor
    from galenic.runtimes.threads import _usable_cores
    from galenic.serve.connections import most_connections

    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr("galenic.evaluation.run.sys.platform", "win32")
    assert most_connections(77) == 77
    assert _usable_cores() >= 1
    assert isinstance(_processor(), str)


def test_no_source_file_leaves_the_encoding_to_the_system() -> None:
    bare = re.compile(
        r"\.(?:read_text|write_text)\((?!.*(?:utf-8|encoding)).*\)|\btext=True\b(?!.*encoding)"
    )
    found = [
        f"{path.name}:{number}"
        for path in Path(galenic.__file__).parent.rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if bare.search(line) and not line.rstrip().endswith("(")
    ]
    assert found == []
