"""Triage asks back: in a terminal one by one, elsewhere in print, with ``--answer``."""

from __future__ import annotations

import json

import pytest

from commands import at_terminal, galenic
from galenic.assistant.triage.triage import triage

pytestmark = pytest.mark.slow

ARM = "my arm hurts"
IDS = [question.id for question in triage(ARM).questions]


def test_at_a_terminal_it_asks_one_by_one() -> None:
    status, screen = at_terminal("perhaps\nno\nn\nYES\n", "triage", ARM)
    assert status == 0, screen
    assert screen.count("Is it hard to breathe") == 2 + screen.count("“Is it hard to breathe")
    assert "Please type yes, no or not sure." in screen
    assert "EMERGENCY" in screen and "your answer to" in screen
    assert screen.index("Is it hard to breathe") < screen.index("EMERGENCY")
    assert "heavy bleeding" not in screen  # the answer before settles it


def test_enter_is_not_sure_and_counts_as_careful() -> None:
    status, screen = at_terminal("\n" * len(IDS), "triage", ARM)
    assert status == 0 and "TODAY" in screen and "You are not sure of this" in screen
    status, screen = at_terminal("no\n" * len(IDS), "triage", ARM)
    assert status == 0 and "UNKNOWN" in screen and "Not known" not in screen


def test_the_end_of_the_input_stops_the_questions() -> None:
    status, screen = at_terminal("no\n\x04", "triage", ARM)
    assert status == 0, screen
    open_still = screen[screen.index("This is not final.") :]
    assert IDS[0] not in open_still and all(name in open_still for name in IDS[1:])


def test_an_emergency_is_not_asked_about() -> None:
    status, screen = at_terminal("", "triage", "crushing chest pain and sweating")
    assert status == 0 and screen.startswith("EMERGENCY") and "questions" not in screen


def test_without_a_terminal_they_are_printed() -> None:
    done = galenic("triage", ARM)
    assert done.returncode == 0 and "This is not final. Not known" in done.stdout
    assert all(f"({name})" in done.stdout for name in IDS)
    said = json.loads(galenic("triage", ARM, "--json").stdout)
    assert [one["id"] for one in said["questions"]] == IDS and said["final"] is False


def test_answers_by_id() -> None:
    no = [part for name in IDS for part in ("--answer", f"{name}=no")]
    said = json.loads(galenic("triage", ARM, "--json", *no).stdout)
    assert (said["tier"], said["questions"], said["final"]) == ("unknown", [], True)
    done = galenic("triage", ARM, "--answer", f"{IDS[0]}=yes")
    assert done.stdout.startswith("EMERGENCY")
    done = galenic("triage", ARM, "--answer", f"{IDS[0]}=unsure")
    assert (
        done.stdout.startswith("TODAY") and f"({IDS[0]})" not in done.stdout.split("Not known")[1]
    )
    events = json.loads(galenic("ask", ARM, "--json", "--answer", f"{IDS[0]}=yes").stdout)
    assert [one["event"] for one in events] == ["triage", "done"]
    assert events[0]["tier"] == "emergency"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (("nothing=yes",), "no question 'nothing'"),
        (("any-chest=maybe",), "ID=yes, ID=no or ID=unsure"),
        (("any-chest",), "ID=yes, ID=no or ID=unsure"),
        (("any-chest=yes", "any-chest=no"), "answered in two ways"),
    ],
)
def test_answers_that_are_none(answers: tuple[str, ...], message: str) -> None:
    for command in ("triage", "ask"):
        done = galenic(command, ARM, *[part for one in answers for part in ("--answer", one)])
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_ask_and_chat_ask_too() -> None:
    status, screen = at_terminal("no\n" * len(IDS), "ask", ARM)
    assert status == 0 and screen.index("hard to breathe") < screen.index("UNKNOWN"), screen
    answers = "no\n" * len(IDS)
    status, screen = at_terminal(f"{ARM}\n{answers}and my elbow\nBye\n", "chat")
    assert status == 0 and "To leave type quit or bye" in screen
    assert screen.count("Is it hard to breathe") == 1, "answers are kept in a conversation"


@pytest.mark.parametrize("word", ["quit", "bye", "exit", "/quit", "Bye!"])
def test_words_that_end_a_conversation(word: str) -> None:
    typed = f"{word}\nI have chest pain\n"
    done = galenic("chat", typed=typed)
    assert done.returncode == 0 and "EMERGENCY" not in done.stdout
    assert "To leave type quit or bye" in done.stdout
