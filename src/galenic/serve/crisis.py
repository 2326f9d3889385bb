"""Detection of cries for help in requests: done before the model runs, and answered first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from galenic.assistant.triage.crisis import Crisis, crisis
from galenic.assistant.triage.triage import triage

__all__ = ["crisis_field", "crisis_in"]

EARLIER = 3
"""Number of messages before the last one that are also searched for a cry for help."""


def crisis_in(messages: Sequence[str], locale: str = "") -> Crisis | None:
    """Return the crisis text to show first; None if no message is a cry for help.

    For a cry in an earlier message the text precedes the answer; for one in the last message it
    may replace the answer (`Crisis.alone`).

    Args:
        messages: the user's messages, oldest first.
        locale: the Accept-Language header; its country selects the crisis lines.
    """
    for back, text in enumerate(reversed(messages[-1 - EARLIER :])):
        if not text.strip():
            continue
        found = crisis(triage(text), text, locale)
        if found is not None:
            return found if back == 0 else Crisis(found.text, found.lines, alone=False)
    return None


def crisis_field(found: Crisis | None) -> dict[str, Any]:
    """Return the ``galenic.crisis`` field of a reply; empty without a cry for help."""
    return {} if found is None else {"galenic": {"crisis": found.describe()}}
