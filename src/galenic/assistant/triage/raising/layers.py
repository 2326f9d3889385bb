"""Registry of the raising layers: parts of triage that can raise the tier but never lower it.

The rule layer (`galenic.assistant.triage.concepts`) determines the tier; each layer here adds
findings. A new layer is a function from `Said` to findings plus an entry in `RAISING`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from galenic.assistant.triage.mild import is_medicine_list, is_mild
from galenic.assistant.triage.raising import languages, poisoning, self_harm, values
from galenic.assistant.triage.raising.features import FEW, tokens
from galenic.assistant.triage.result import Finding
from galenic.assistant.triage.said import Said

__all__ = ["RAISING", "pieces"]

Find = Callable[[Said], Sequence[Finding]]


FEWEST, MOST_ALONE = 3, 40
"""Limits for the classifier: the minimum number of words of a text, and the maximum number of
sentences that are classified separately.

Besides the whole text, each sentence and each pair of adjacent sentences is classified, so that
harmless sentences beside an emergency do not dilute it."""
PART = 1.06
"""Factor on the classifier's thresholds for a part of a message, which has less context."""
SHORT = 1.1
"""Factor on the classifier's thresholds for a text of fewer than `FEW` words."""
HINT = 0.12
"""Probability of self-harm, about half of the classifier's own threshold, from which a single weak
cue of `self_harm` suffices for a finding."""


def pieces(counted: Sequence[str]) -> list[tuple[str, float]]:
    """Return the texts to classify, the whole one first, each with a factor for the thresholds."""
    whole = " ".join(counted)
    words = len(tokens(whole))
    if words < FEWEST:
        return []
    if words < FEW:
        return [(whole, SHORT)]
    sentences = _with_questions(counted[:MOST_ALONE])
    pairs = [f"{one} {follows}" for one, follows in pairwise(sentences)]
    beside = [one for one in (*sentences, *pairs) if len(tokens(one)) >= FEW]
    return [(whole, 1.0), *((one, PART) for one in beside if len(counted) > 1)]


def _learned(said: Said) -> Sequence[Finding]:
    """Apply the classifier to the sentences that count, as it cannot recognize negation."""
    from galenic.assistant.triage.raising import classifier  # imports numpy

    read = pieces(said.reading.counted)
    if not read or languages.notice(said.text):
        return ()  # trained on English only
    if is_mild(said.text) or is_medicine_list(said.text):
        return ()
    found = [one for piece, factor in read for one in classifier.findings(piece, factor)]
    whole = read[0][0]
    if len(tokens(whole)) < FEW:  # "my head hurts" is as near to an emergency as to none
        found = [one for one in found if one.id == classifier.SELF_HARM]
    if not found and classifier.estimate(whole).self_harm >= HINT:
        return self_harm.hinted(whole)
    return found


def _with_questions(sentences: Sequence[str]) -> list[str]:
    """Merge each question into the sentence before it."""
    found: list[str] = []
    for one in sentences:
        if found and one.endswith("?"):
            found[-1] = f"{found[-1]} {one}"
        else:
            found.append(one)
    return found


RAISING: dict[str, Find] = {
    "self-harm": self_harm.find,
    "poisoning": poisoning.find,
    "values": values.find,
    "languages": lambda said: languages.findings(said.text),
    "classifier": _learned,
}
"""All raising layers by name, in the order in which they run."""
