"""Detect messages in which nobody is said to be ill now, although a rule or a layer is alarmed.

Phrase lists cannot cover every way to ask, to tell a story or to speak of things, so a second
classifier is consulted, which was trained on more harmless texts than the first and sees each text
twice: as it is, and with its symptoms hidden, so that only the way of saying is left. Findings that
both readings doubt are suspended, and the person is asked whether this is happening now; the
answers "yes" and "not sure" restore them. For error rates and known limits see LOG.md, 30 November
2026.
"""

from __future__ import annotations

from galenic.assistant.triage.framing import asks_of_somebody
from galenic.assistant.triage.reading import Reading

__all__ = ["GRAVE", "LEARNED", "RULES", "reads_harmless"]

RULES, LEARNED, GRAVE = -1.6, -0.75, -1.95
"""Log-odds of urgency under which an alarm is doubted: one of concept rules alone, one of the
classifier (which then still means today), and one of self-harm or an overdose. For what is under
them of texts held out from training see ``tools/train_second.py``."""
ALONE = 0.0
"""Upper limit for each sentence by itself, so that harmless ones do not dilute an emergency."""
MOST_WORDS = 120
"""Longer messages, in tokens, usually describe a case and are never doubted."""


def reads_harmless(reading: Reading, limit: float) -> bool:
    """Check whether a message, and each of its sentences, reads as if nobody were ill now.

    "The stroke weight in the logo is too thin" can; "is my stroke coming back?" cannot.

    Args:
        reading: What was extracted from the message.
        limit: Log-odds of urgency under which the whole must be: `RULES`, `LEARNED` or `GRAVE`.
    """
    read = reading.sentences
    if len(reading.masked) != len(read) or sum(len(one.tokens) for one in read) > MOST_WORDS:
        return False
    if reading.denied or asks_of_somebody(read):  # "no fever": somebody tells how they are
        return False
    from galenic.assistant.triage.raising.classifier import urgent_odds  # imports numpy

    plain = [one.written or " ".join(one.shown) for one in read]
    if urgent_odds(" ".join(plain), " ".join(reading.masked)) >= limit:
        return False
    return len(plain) == 1 or all(
        urgent_odds(*one) < ALONE for one in zip(plain, reading.masked, strict=True)
    )
