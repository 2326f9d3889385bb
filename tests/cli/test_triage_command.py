"""`galenic triage` from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from commands import galenic
from galenic.assistant.triage.triage import NOTICE
from galenic.cli.main import app
from galenic.errors import UserError


def run(*arguments: str, given: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["triage", *arguments], input=given)


def test_it_says_what_why_and_where_from() -> None:
    done = run("burning when I pee, fever and pain in my side")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("TODAY")
    assert (
        "kidney infection" in done.output
        and "https://www.nice.org.uk/guidance/ng111" in done.output
    )
    assert done.output.rstrip().endswith(NOTICE)
    assert run("I have crushing chest pain").output.startswith("EMERGENCY")
    nothing = run("No fever.")
    assert nothing.output.startswith("UNKNOWN") and "“fever” (denied)" in nothing.output
    assert NOTICE in nothing.output


@pytest.mark.parametrize(("locale", "lines"), [("en_GB.UTF-8", 1), ("C.UTF-8", 6)])
def test_a_cry_for_help_gets_the_lines_first(
    monkeypatch: pytest.MonkeyPatch, locale: str, lines: int
) -> None:
    monkeypatch.delenv("LC_MESSAGES", raising=False)
    monkeypatch.setenv("LC_ALL", locale)
    for command in ("triage", "ask"):
        done = CliRunner().invoke(app, [command, "I want to end my life"])
        assert done.output.startswith("Thank you for saying this."), command
        before = done.output.split("EMERGENCY")[0]
        assert "116 123" in before
        assert sum(line.startswith("- ") for line in before.splitlines()) >= lines
        told = json.loads(CliRunner().invoke(app, [command, "--json", "I want to die"]).stdout)
        first = told if command == "triage" else told[0]
        assert "116 123" in first["crisis"]["text"]
    talk = CliRunner().invoke(app, ["chat"], input="I want to end my life\n/quit\n")
    assert talk.output.index("116 123") < talk.output.index("EMERGENCY")


def test_what_to_do_is_said_once() -> None:
    lines = run("burning when I pee, fever and pain in my side").output.splitlines()
    assert sum(line.startswith("Speak to a doctor today") for line in lines) == 1


def test_json_and_standard_input() -> None:
    result = json.loads(run("-", "--json", given="my 6 week old has a fever\n").stdout)
    assert result["tier"] == "emergency" and result["notice"] == NOTICE
    assert "young_infant" in result["populations"]
    [finding] = [f for f in result["findings"] if f["id"] == "infant-fever"]
    assert finding["source"]["url"] == "https://www.nice.org.uk/guidance/ng143"
    assert finding["words"] == ["fever"]


@pytest.mark.parametrize(
    ("arguments", "given", "message"),
    [
        (("",), None, "there is no text"),
        (("-",), " \n", "there is no text"),
        (("-",), b"\xff\xfe", "not UTF-8"),
        (("-",), "x" * 1_000_001, "Say it in fewer words"),
        (("cough", "--rules", "nowhere.yaml"), None, "cannot be read"),
    ],
)
def test_mistakes(arguments: tuple[str, ...], given: str | bytes | None, message: str) -> None:
    done = run(*arguments, given=given)
    assert isinstance(done.exception, UserError) and message in str(done.exception)


@pytest.mark.slow
def test_mistakes_exit_with_status_2(tmp_path: Path) -> None:
    rules = tmp_path / "mine.yaml"
    rules.write_text("sources: {}\nconcepts: {}\nrulez: []\n", encoding="utf-8")
    for arguments in (["  "], ["cough", "--rules", str(rules)]):
        done = galenic("triage", *arguments)
        assert done.returncode == 2 and "error:" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_no_model_and_no_file(tmp_path: Path) -> None:
    probe = (
        "import sys; sys.argv = ['galenic', 'triage', 'I have chest pain']\n"
        "from galenic.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    assert not {'torch', 'numpy', 'scipy', 'gguf'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("EMERGENCY") and not list(tmp_path.iterdir())
