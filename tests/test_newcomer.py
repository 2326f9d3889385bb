"""The script that walks the README: what counts as stale, on texts made by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from readme_blocks import Step, masked, run, stale, steps  # noqa: E402


def test_commands_are_found_with_what_they_print() -> None:
    text = (
        "x\n```\npython3 -m venv a\npip b\n```\n\n"
        "```console\n$ one 1\nout\n$ two\n```\n```\nno\n```\n"
    )
    assert [(s.command, s.expected) for s in steps(text)] == [
        ("python3 -m venv a\npip b", []),
        ("one 1", ["out"]),
        ("two", []),
    ]


def test_numbers_do_not_count() -> None:
    assert masked("acc .250  .112–.469  A█ B·") == masked("acc .3 .1–.5 A▁ B█")
    assert masked("DAYS: see") != masked("TODAY: see")


@pytest.mark.parametrize(
    ("expected", "wrong"),
    [
        (["a 1", "b"], ""),
        (["a", "..."], "a"),
        (["...", "c", "..."], ""),
        (["a 9", "c"], "c"),
        (["a 1", "...", "d"], ""),
        (["d", "...", "a 1"], "a 1"),
        (["a 1", "b", "long is ..."], "long is ..."),
        (["...", "long is ..."], ""),
    ],
)
def test_a_line_that_is_not_printed_in_its_place_is_stale(expected: list[str], wrong: str) -> None:
    assert stale(expected, "a 2\nb\nc\nd\nlong is this\n") == wrong


def test_the_readme_has_commands() -> None:
    readme = ROOT / "README.md"
    if not readme.is_file():
        pytest.skip("installed without the repository's README")
    commands = [step.command for step in steps(readme.read_text("utf-8"))]
    assert sum(command.startswith("galenic ") for command in commands) >= 3
    assert len(readme.read_text("utf-8").splitlines()) <= 120


def test_a_command_that_takes_too_long_is_ended_with_all_it_started() -> None:
    printed, wrong = run(Step("echo begun; sleep 60 | cat"), "", limit=5)
    assert printed == "begun\n"
    assert wrong.startswith("not finished within 5 s")
    assert run(Step("echo 1; exit 3"), "")[1].startswith("status 3")
