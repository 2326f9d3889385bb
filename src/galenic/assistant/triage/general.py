"""Judge a message without the general questions around what it tells."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["without_idle_questions"]

MOST_QUESTIONS, FEWEST_WORDS = 20, 4
"""Limits for a question that is left out: of a message, so many different ones at most are judged,
and one of fewer words belongs to what is said before it ("How come?")."""
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_POINTS_BACK = re.compile(
    r"\b(?:that|this|these|those|it|its|he|she|him|her|his|they|them|their|so|one)\b", re.IGNORECASE
)


def without_idle_questions(text: str, is_idle: Callable[[str], bool]) -> str | None:
    """Return a message without the general questions around what it tells, or None if it has none.

    "My tongue is swelling up. Can people take vitamin D with food?" becomes its first sentence, for
    a question must not lower the urgency of the rest. Questions that point back ("Is that
    hereditary?") stay: they may show that nobody is ill now.

    Args:
        text: The message.
        is_idle: Checks whether a question by itself is about nobody's urgent trouble.
    """
    parts = [part.strip() for part in _SENTENCE.split(text) if part.strip()]
    asked = [part for part in dict.fromkeys(parts) if _stands_alone(part)][:MOST_QUESTIONS]
    if not asked or len(asked) == len(parts):
        return None
    idle = {question for question in asked if is_idle(question)}
    kept = [part for part in parts if part not in idle]
    return "\n".join(kept) if idle and kept else None


def _stands_alone(part: str) -> bool:
    """Check whether a sentence is a question that can be understood without the others."""
    asks = part.endswith(("?", "？"))
    return asks and len(part.split()) >= FEWEST_WORDS and not _POINTS_BACK.search(part)
