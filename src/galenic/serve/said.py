"""What the server says of its own faults: what failed where, and nothing of what was asked."""

from __future__ import annotations

import sys
from traceback import extract_tb

__all__ = ["say_failure"]


def say_failure(what: str, error: Exception) -> None:
    """One line on the standard error; the words of the error may repeat a question, and stay out.

    Args:
        what: was being done.
        error: what ended it.
    """
    frames = extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    sys.stderr.write(f"error: {what} was not answered: {type(error).__name__}{where}\n")
