"""Help at 80 columns, in groups, and the options that every command has."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from galenic.cli.main import GROUPS, app
from galenic.errors import UserError

COMMANDS = [module.__name__.rpartition(".")[2] for modules in GROUPS.values() for module in modules]
LONGEST = 150
"""Lines of the longest help; printed in boxes with four columns it was 277."""
MOST_USUAL = 13
"""Options before the groups, with --output, --json and --help."""


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def help_of(*words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--help"])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns_and_ends_with_examples(command: str) -> None:
    lines = help_of(command).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= LONGEST
    examples = next(n for n, line in enumerate(lines) if "Examples" in line)
    assert any(f"galenic {command}" in line for line in lines[examples:])
    assert any("--quiet" in line for line in lines)


def test_the_usual_options_come_first() -> None:
    lines = help_of("finetune").splitlines()
    at = [
        next(n for n, line in enumerate(lines) if line.startswith(f" {name} "))
        for name in ("--train", "--epochs", "--json", "--warmup")
    ]
    assert at == sorted(at)
    heads = [line.split(" ─")[0] for line in lines if "──" in line]
    assert heads == [
        "Arguments", "Options", "Texts", "Training", "Cache of frozen blocks",
        "Options of the method", "Output", "Examples",
    ]  # fmt: skip


def test_a_switch_is_shown_by_what_it_changes_and_a_range_in_words() -> None:
    text = " ".join(help_of("finetune").split())
    assert "--allow-contaminated Train" in text
    assert "--no-allow-contaminated" not in text
    assert "0 to 1]" in text
    assert "x>=" not in text
    assert "x<=" not in text


def test_commands_are_in_groups_with_one_sentence_each() -> None:
    lines = help_of().splitlines()
    assert [title for title in GROUPS if any(f"─ {title} ─" in line for line in lines)] == [*GROUPS]
    assert len(lines) <= 70


def test_without_a_command_three_things_to_try() -> None:
    done = CliRunner().invoke(app, [])
    assert done.exit_code == 0
    tries = [line for line in done.output.splitlines() if line.startswith("  galenic ")]
    assert [line.split()[1] for line in tries] == ["ask", "evaluate", "serve"]
    assert max(map(len, done.output.splitlines())) <= 80


def test_what_is_said_about_the_work_goes_to_the_log_file(tmp_path: Path) -> None:
    from galenic.cli.progress import ConsoleWatcher

    log = tmp_path / "log.txt"
    done = CliRunner().invoke(app, ["data", "--data", "sample", "--log-file", str(log)])
    assert done.exit_code == 0, done.output
    ConsoleWatcher().stage("reading", 3)
    logging.getLogger("galenic").handlers[-1].flush()
    words = log.read_text("utf-8")
    assert "galenic 0." in words
    assert "reading: 3 to do" in words


def test_quiet_shows_no_progress_but_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    from galenic.cli.progress import ConsoleWatcher

    done = CliRunner().invoke(app, ["data", "--data", "sample", "--quiet"])
    assert "Table 1" in done.output
    ConsoleWatcher().say("a line")
    assert "a line" not in capsys.readouterr().err
    CliRunner().invoke(app, ["data", "--data", "sample"])
    ConsoleWatcher().say("a line")
    assert "a line" in capsys.readouterr().err


def test_quiet_and_verbose_exclude_each_other_and_a_log_must_be_writable(tmp_path: Path) -> None:
    for words, reason in (
        (["--quiet", "--verbose"], "exclude each other"),
        (["--log-file", str(tmp_path / "none" / "log")], "Name a file"),
    ):
        done = CliRunner().invoke(app, ["data", "--data", "sample", *words])
        assert isinstance(done.exception, UserError)
        assert reason in str(done.exception)


def test_every_command_is_in_one_group() -> None:
    group = typer.main.get_group(app)
    assert sorted(group.commands) == sorted(COMMANDS)


def test_a_long_example_is_broken_before_an_option_and_what_it_does_is_below() -> None:
    from galenic.cli.help import _broken

    command = "galenic prune ./m --method wanda --text 'my notes.txt' -o small/"
    assert _broken(command, 45) == (
        "galenic prune ./m --method wanda \\\n    --text 'my notes.txt' -o small/"
    )
    assert _broken(command, 100) == command
    lines = help_of("ask").splitlines()
    at = next(n for n, line in enumerate(lines) if line.strip() == "galenic ask -")
    assert lines[at + 1].startswith("     # reads standard input")


def test_a_switch_that_is_on_is_shown_with_both_names() -> None:
    text = " ".join(help_of("search").split())
    assert "--embeddings/--no-embeddings Also search by vectors" in text
    assert "[default: on]" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_few_options_stand_before_the_groups(command: str) -> None:
    usual = help_of(command).partition("Options ──")[2].partition("\n\n")[0]
    assert len(re.findall(r"^ --?\w", usual, re.MULTILINE)) <= MOST_USUAL


def test_what_only_a_measurement_of_speed_has_is_a_group() -> None:
    group = help_of("evaluate").partition("With --speed ──")[2].partition("\n\n")[0]
    assert re.findall(r"^ (--[\w-]+)", group, re.MULTILINE) == [
        "--against", "--prompt-tokens", "--new-tokens", "--rounds",
    ]  # fmt: skip
