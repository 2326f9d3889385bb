"""Detect messages that only ask a general medical question, although a rule matched.

Phrase lists cannot cover every way to ask a question, so the learned classifier is consulted as
well. It is used only where the sole alarm comes from a concept rule, nothing refers to the present,
and no single sentence looks like an emergency to the classifier. The matched findings are then
suspended, and the person is asked whether this is happening now; the answers "yes" and "not sure"
restore them. For measured error rates and known limits see LOG.md, 29 November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from galenic.assistant.triage.framing import (
    is_claimed,
    is_happening,
    speaks_of_now,
)
from galenic.assistant.triage.reading import Reading

__all__ = ["reads_general", "without_idle_questions"]

GENERAL, EMERGENCY = 0.6, 0.1
"""Thresholds for the whole message: the classifier must give the class ``general`` at least the
first probability and the class ``emergency`` less than the second. On conditions held out from
training, none of 1,063 emergencies that rules had found met both."""
ALONE = 0.7
"""Upper limit for the probability of ``emergency`` of every sentence classified by itself."""
MOST_WORDS = 120
"""Longer messages, in tokens, usually describe a case and never count as general questions."""

MOST_QUESTIONS, FEWEST_WORDS = 20, 4
"""Limits for a question that is left out: of a message, so many different ones at most are judged,
and one of fewer words belongs to what is said before it ("How come?")."""
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_POINTS_BACK = re.compile(
    r"\b(?:that|this|these|those|it|its|he|she|him|her|his|they|them|their|so|one)\b", re.IGNORECASE
)


def reads_general(reading: Reading) -> bool:
    """Check whether a message, and each of its sentences, reads as a general question.

    "What are the signs of a stroke?" can be one; "my dad has signs of a stroke" is not.
    """
    written = [one.written for one in reading.sentences]
    words = sum(len(one.tokens) for one in reading.sentences)
    if not all(written) or words > MOST_WORDS:
        return False
    if is_happening(reading.sentences) or is_claimed(reading.sentences):
        return False
    if speaks_of_now(reading.sentences):
        return False
    from galenic.assistant.triage.raising.classifier import estimate  # imports numpy

    whole = estimate(" ".join(written)).probabilities
    if whole["general"] < GENERAL or whole["emergency"] >= EMERGENCY:
        return False
    return all(estimate(one).probabilities["emergency"] < ALONE for one in written)


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
