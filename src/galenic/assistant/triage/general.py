"""Does a message in which a rule found an alarming word read as a question about nobody?

Part of the layer that decides: phrase lists do not know all ways to ask, so the learned model is
asked too, but only where a rule over concepts alone is alarmed, nothing speaks of the present, and
no sentence by itself reads like an emergency. What is set aside so is asked about first ("is this
happening now?"), and "yes" or "not sure" lets it count. Limits: LOG.md, 29 November 2026.
"""

from __future__ import annotations

from galenic.assistant.triage.framing import (
    is_claimed,
    is_happening,
    speaks_of_now,
)
from galenic.assistant.triage.reading import Reading

__all__ = ["reads_general"]

GENERAL, EMERGENCY = 0.6, 0.1
"""Of the message: it is general with at least this probability, an emergency with less than that.
On conditions that were not trained on this held for 0 of 1,063 emergencies that rules found."""
ALONE = 0.7
"""No sentence by itself may reach this probability of an emergency."""
MOST_WORDS = 120
"""Longer messages tell a story, and are left as they are."""


def reads_general(reading: Reading) -> bool:
    """Whether the message asks in general, and so does each of its sentences."""
    written = [one.written for one in reading.sentences]
    words = sum(len(one.tokens) for one in reading.sentences)
    if not all(written) or words > MOST_WORDS:
        return False
    if is_happening(reading.sentences) or is_claimed(reading.sentences):
        return False
    if speaks_of_now(reading.sentences):
        return False
    from galenic.assistant.triage.raising.classifier import estimate  # numpy: only where needed

    whole = estimate(" ".join(written)).probabilities
    if whole["general"] < GENERAL or whole["emergency"] >= EMERGENCY:
        return False
    return all(estimate(one).probabilities["emergency"] < ALONE for one in written)
