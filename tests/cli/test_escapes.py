"""No text of others steers the terminal, and closed or full streams end in one line."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from commands import galenic
from galenic.cli import output
from galenic.cli.output import PlainConsole, _Formatter, echo
from galenic.limits import escaped
from studies import write_study

EVIL = "\x1b]0;mine\x07\x1b[2J\x9b31m\x7f\r"
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
PARTS = Path(str(output.__file__)).parent


def test_json_with_escapes_is_the_same_json() -> None:
    found = {"title": EVIL + "a\tb\n\ud800", "list": ["é", "ü\u2028"]}
    text = escaped(json.dumps(found, ensure_ascii=False, indent=1))
    assert not STEERING.search(text)
    assert json.loads(text) == found
    assert "ü" in text


def test_texts_in_a_console_are_shown_escaped_and_styles_stay() -> None:
    file = io.StringIO()
    console = PlainConsole(file=file, force_terminal=True, color_system="standard", width=200)
    table = Table("head")
    table.add_row(EVIL)
    for shown in (Text(f"one {EVIL}", style="bold"), table, f"two {EVIL}"):
        console.print(shown, markup=False)
    printed = file.getvalue()
    assert "\x1b[1mone \\u001b" in printed
    assert not STEERING.search(re.sub(r"\x1b\[[\d;]*m", "", printed))


def test_lines_and_logs_are_shown_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    echo(f"a {EVIL}")
    echo(f"b {EVIL}", err=True)
    record = logging.LogRecord("galenic", logging.INFO, "", 1, "c %s", (EVIL,), None)
    out, err = capsys.readouterr()
    assert not STEERING.search(out + err + _Formatter("%(message)s").format(record))


def test_commands_print_by_these_alone() -> None:
    trusted = {"output.py", "help.py", "main.py"}
    for path in PARTS.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        raw = re.search(r"typer\.echo\(|(?<!Plain)\bConsole\(|(?<![\w.])print\(", text)
        assert raw is None or path.name in trusted, path


@pytest.mark.slow
def test_the_title_of_a_study_is_shown_escaped(tmp_path: Path) -> None:
    write_study(tmp_path / "study")
    place = tmp_path / "study/study.json"
    study = json.loads(place.read_text(encoding="utf-8"))
    next(iter(study["nodes"].values()))["title"] = EVIL
    place.write_text(json.dumps(study), encoding="utf-8")
    done = galenic("status", tmp_path / "study")
    assert done.returncode == 0
    assert "\\u001b]0;mine" in done.stdout
    assert not STEERING.search(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell and /dev/full")
@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("triage 'my knee hurts' <&-", 0, ""),
        ("status /no/such <&- >&-", 2, "holds no study"),
        ("--version >&-", 0, ""),
        ("--version >/dev/full", 74, "no space left"),
        ("chat <&-", 0, ""),
        ("ask - <&-", 2, "there is no text"),
    ],
)
def test_streams_that_are_closed_or_full(line: str, status: int, said: str) -> None:
    command = f"{sys.executable} -c 'from galenic.cli.main import main; main()' {line}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == bool(said)


@pytest.mark.slow
def test_a_home_that_nobody_has_ends_in_one_line(tmp_path: Path) -> None:
    done = galenic("index", "--list", GALENIC_HOME="~nobody-here/x", GALENIC_CACHE=str(tmp_path))
    assert done.returncode == 2
    assert "names no home folder" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_search_reads_a_bounded_question() -> None:
    done = galenic("search", "-", typed="pain " * 250_000)
    assert done.returncode == 2
    assert "bytes" in done.stderr
