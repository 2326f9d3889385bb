"""Cries for help in what callers send: found before any model is asked, answered first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from galenic.assistant.triage.crisis import Crisis, crisis
from galenic.assistant.triage.triage import triage

__all__ = ["crisis_field", "crisis_in"]

EARLIER = 3
"""Messages before the last one in which a cry for help still counts."""


def crisis_in(messages: Sequence[str], locale: str = "") -> Crisis | None:
    """What to say first to the writer of these messages; None without a cry for help.

    A cry in an earlier message puts the lines before the answer; one in the last message may take
    the answer's place (`Crisis.alone`).

    Args:
        messages: of the user, the last one last.
        locale: the header Accept-Language; its country chooses the lines.
    """
    for back, text in enumerate(reversed(messages[-1 - EARLIER :])):
        if not text.strip():
            continue
        found = crisis(triage(text), text, locale)
        if found is not None:
            return found if back == 0 else Crisis(found.text, found.lines, alone=False)
    return None


def crisis_field(found: Crisis | None) -> dict[str, Any]:
    """The field of its own in which replies carry it; nothing without a cry for help."""
    return {} if found is None else {"galenic": {"crisis": found.describe()}}
