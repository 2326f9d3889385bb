"""Ctrl-C and SIGTERM at each point of a conversation, and while the command is imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import StringIO
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from galenic import __main__ as start
from galenic.assistant.history import History
from galenic.assistant.pipeline import Assistant
from galenic.cli.ask import answer, asking, chat
from galenic.errors import Terminated, UserError

ARM = "my arm hurts"


class Scripted(Console):
    """A terminal at which lines are typed and signals come."""

    def __init__(self, *typed: str | type[BaseException]) -> None:
        super().__init__(file=StringIO(), width=200)
        self.typed = list(typed)

    def input(self, prompt: Any = "", **_: Any) -> str:
        self.print(prompt)
        said = self.typed.pop(0) if self.typed else EOFError
        if isinstance(said, str):
            return said
        raise said

    @property
    def screen(self) -> str:
        assert isinstance(self.file, StringIO)
        return self.file.getvalue()


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The messages that count for the next one, as they are added."""
    found: list[str] = []
    add = History.add
    monkeypatch.setattr(
        History, "add", lambda self, said, reply: (found.append(said), add(self, said, reply))
    )
    return found


def talk(monkeypatch: pytest.MonkeyPatch, *typed: str | type[BaseException]) -> str:
    console = Scripted(*typed)
    monkeypatch.setattr(answer, "terminal", lambda: console)
    monkeypatch.setattr(asking, "at_terminal", lambda: True)
    chat.command()
    return console.screen


def test_ctrl_c_at_a_question_shows_what_is_known(
    monkeypatch: pytest.MonkeyPatch, kept: list[str]
) -> None:
    screen = talk(monkeypatch, ARM, "no", KeyboardInterrupt, "bye")
    assert "This is not final." in screen and "on this machine)" in screen
    assert kept == [ARM] and "(stopped)" not in screen


@pytest.mark.parametrize("why", [KeyboardInterrupt, UserError("the model cannot be loaded")])
def test_a_message_counts_though_its_answer_was_stopped(
    monkeypatch: pytest.MonkeyPatch, kept: list[str], why: BaseException | type[BaseException]
) -> None:
    def stopped(*_: object) -> Iterator[Any]:
        raise why

    monkeypatch.setattr(Assistant, "answer", stopped)
    screen = talk(monkeypatch, ARM, EOFError, "and my elbow", KeyboardInterrupt)
    assert kept == [ARM, "and my elbow"] and screen.count("This is not final.") == 1


def test_sigterm_ends_the_conversation_at_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Terminated):
        talk(monkeypatch, ARM, Terminated, "bye")


def test_sigterm_ends_the_conversation_while_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> Iterator[Any]:
        raise Terminated

    monkeypatch.setattr(Assistant, "answer", stopped)
    with pytest.raises(Terminated):
        talk(monkeypatch, ARM, EOFError, "bye")


def test_ctrl_c_at_a_question_of_one_answer_leaves() -> None:
    with pytest.raises(KeyboardInterrupt):
        asking.ask_back(Scripted(KeyboardInterrupt), lambda _: Assistant().triage(_asked()), {})


def _asked() -> Any:
    from galenic.assistant.pipeline import make_question

    return make_question(ARM, (), "", {})


def test_ctrl_c_while_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "galenic.cli.main", Slow("galenic.cli.main"))
    with pytest.raises(SystemExit) as left:
        start.main()
    assert left.value.code == 130
