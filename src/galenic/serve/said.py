"""Error messages of the server: what failed and where, without the caller's text."""

from __future__ import annotations

import sys
from traceback import extract_tb

__all__ = ["say_failure"]


def say_failure(what: str, error: Exception) -> None:
    """Print one line to standard error, without the error's message, which may quote a question.

    Args:
        what: the task that failed.
        error: the exception that ended it.
    """
    frames = extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    sys.stderr.write(f"error: {what} was not answered: {type(error).__name__}{where}\n")
