"""Conversations that a person asked to keep; `galenic purge` deletes them."""

from __future__ import annotations

import json
from pathlib import Path

from galenic.assistant.pipeline import Reply
from galenic.errors import UserError
from galenic.home import assistant_folder, make_private
from galenic.jsonl import append_jsonl

__all__ = ["History", "history_path"]

MOST = 20
"""Questions of before that a conversation goes on from."""


def history_path() -> Path:
    """Where conversations are kept."""
    return assistant_folder() / "history.jsonl"


class History:
    """What was said; on disk only where asked for.

    Args:
        path: of the file; None keeps nothing.

    Raises:
        UserError: the file cannot be read or written, or is no history.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.questions: list[str] = []
        if path is not None:
            make_private(path)
            self.questions = _read(path)[-MOST:]

    def add(self, question: str, reply: Reply) -> None:
        """Note a question and its answer."""
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
        """Forget it all, on disk as well."""
        self.questions = []
        if self.path is not None:
            self.path.write_text("", encoding="utf-8")


def _read(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # a question may hold U+2028
        return [str(json.loads(line)["question"]) for line in lines if line]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read as a history: {error}. `galenic purge` deletes it."
        ) from error
