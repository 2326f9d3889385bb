"""`galenic ask` and `galenic chat` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from galenic.assistant.history import history_path
from galenic.assistant.triage.triage import NOTICE
from galenic.cli.main import app
from galenic.errors import UserError
from galenic.home import kept_files
from tiny import write_tiny_gguf

UTI = "Burning when I pee. Could this be a UTI?"


@pytest.fixture
def model(tmp_path: Path) -> str:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "uti.md").write_text("# Bladder\n\nA UTI makes burning when you pee, as germs do.\n")
    assert run("index", str(docs)).exit_code == 0
    return str(write_tiny_gguf(tmp_path / "tiny.gguf"))


def run(*arguments: str, given: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=given)


@pytest.mark.slow
def test_one_answer(model: str) -> None:
    done = run("ask", UTI, "--model", model)
    assert done.exit_code == 0, done.output
    parts = ["DAYS", "What the sources say", "A UTI makes burning", "[1]", "What to watch for",
             "Questions for your appointment", "Sources", "on this machine", NOTICE]  # fmt: skip
    places = [done.output.index(part) for part in parts]
    assert places == sorted(places)
    assert run("ask", "-", "--model", model, given=UTI).output.split("(")[0] in done.output
    assert [path.name for path in kept_files() if "history" in path.name] == []


def test_a_licence_is_said_once_behind_the_sources() -> None:
    shown = run("ask", "What helps a cold?").output
    assert shown.count("[2] ") >= 1
    assert shown.count("Apache-2.0") == 1
    assert shown.index("Licence") > shown.rindex("https://")


def test_where_questions_come_from_is_said_once_behind_them() -> None:
    shown = run("ask", "What helps a cold?").output
    where = shown.index("(Galenic's handbook; more at AHRQ")
    assert shown.count("AHRQ") == 1
    assert shown.index("Questions for your appointment") < where < shown.index("Sources\n")


def test_in_an_emergency_no_model_is_loaded(model: str) -> None:
    done = run("ask", "crushing chest pain and sweating", "--model", "no such model")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("EMERGENCY")
    assert "Sources" not in done.output


def test_for_a_program(model: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("Since Monday a fever of 39.")
    done = run("ask", UTI, "--model", model, "--json", "--context", str(notes))
    events = json.loads(done.output)
    assert [events[0]["event"], events[-1]["event"]] == ["triage", "done"]
    assert events[0]["tier"] == "today"
    assert any(one["event"] == "sentence" and one["sources"] == [1] for one in events)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((" ",), "no text"),
        ((UTI, "--style", "poetic"), "style"),
        ((UTI, "--context", "no-such-file"), "no-such-file"),
        ((UTI, "--model", "no-such-model"), "no-such-model"),
    ],
)
def test_bad_input_is_explained(arguments: tuple[str, ...], message: str) -> None:
    failed = run("ask", *arguments).exception
    assert isinstance(failed, UserError)
    assert message in str(failed)


def test_a_conversation(model: str) -> None:
    said = (
        f"{UTI}\n/source 1\n/source 99\n/help\ncrushing chest pain and sweating\nand now?\n/quit\n"
    )
    done = run("chat", "--model", model, given=said)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(NOTICE)
    assert "A UTI makes burning when you pee, as germs do." in done.output
    assert "no passage of that number" in done.output
    assert "/clear" in done.output
    assert done.output.count("EMERGENCY") == 2  # it stays one
    assert not history_path().exists()


def test_a_conversation_is_kept_where_asked(model: str) -> None:
    run("chat", "--model", model, "--history", given="crushing chest pain\n")
    assert len(history_path().read_text().splitlines()) == 1
    again = run("chat", "--model", model, "--history", given="and now?\n/clear\nand now?\n")
    assert again.output.count("EMERGENCY") == 1
    assert len(history_path().read_text().splitlines()) == 1
    assert run("purge", "--yes").exit_code == 0
    assert not history_path().exists()
