"""Conversation history that a user asked to keep on disk; `galenic purge` deletes it."""

from __future__ import annotations

import json
from pathlib import Path

from galenic.assistant.pipeline import Reply
from galenic.errors import UserError
from galenic.home import assistant_folder, make_private
from galenic.jsonl import append_jsonl

__all__ = ["History", "history_path"]

MOST = 20
"""Maximum number of earlier questions that are kept as context for the next one."""


def history_path() -> Path:
    """Return the path of the file in which conversations are kept."""
    return assistant_folder() / "history.jsonl"


class History:
    """The earlier questions of a conversation; stored on disk only if the user asked for it.

    Attributes:
        path: JSON Lines file with one question and answer per line; None stores nothing.
        questions: the latest questions, oldest first, at most `MOST`.

    Raises:
        UserError: the file cannot be read or written, or is not a history file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.questions: list[str] = []
        if path is not None:
            make_private(path)
            self.questions = _read(path)[-MOST:]

    def add(self, question: str, reply: Reply) -> None:
        """Append a question to the history, and question and answer to the file if there is one.

        Args:
            question: the question in the user's own words.
            reply: its answer, of which triage tier and sentences are stored.
        """
        self.questions = [*self.questions, question][-MOST:]
        if self.path is None:
            return
        said = {
            "question": question,
            "tier": reply.triage.tier,
            "answer": [one.text for one in reply.sentences],
        }
        append_jsonl(self.path, [said])

    def clear(self) -> None:
        """Delete all questions from memory, and all questions and answers from the file."""
        self.questions = []
        if self.path is not None:
            self.path.write_text("", encoding="utf-8")


def _read(path: Path) -> list[str]:
    """Return the questions in a history file, oldest first."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # a question may hold U+2028
        return [str(json.loads(line)["question"]) for line in lines if line]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read as a history: {error}. `galenic purge` deletes it."
        ) from error
