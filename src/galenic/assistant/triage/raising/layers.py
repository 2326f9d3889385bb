"""The layers that can only raise the tier, in one list.

The first layer (`galenic.assistant.triage.concepts`) decides; each of these adds findings to its
own. A new one is a function from `Said` to findings, and a line in `RAISING`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from galenic.assistant.triage.raising import languages, poisoning, self_harm, values
from galenic.assistant.triage.raising.features import tokens
from galenic.assistant.triage.result import Finding
from galenic.assistant.triage.said import Said

__all__ = ["RAISING", "pieces"]

Find = Callable[[Said], Sequence[Finding]]


FEWEST, ALONE, MOST_ALONE = 3, 6, 40
"""Words that a text, and that a sentence read by itself, must have; sentences read so. Each alone,
and each with the next one, counts as well, so that what is said beside an emergency does not make
it less of one."""
PART = 1.06
"""By which the limits are multiplied for a part of a message: what stands around it says more."""
SHORT = 1.1
"""By which the limits are multiplied for a text of fewer than `ALONE` words."""
HINT = 0.12
"""From this probability of self-harm on, about half of the classifier's own limit, one weaker word
of `self_harm` is enough."""


def pieces(counted: Sequence[str]) -> list[tuple[str, float]]:
    """What the classifier reads of the sentences that count, and by how much its limits grow."""
    whole = " ".join(counted)
    words = len(tokens(whole))
    if words < FEWEST:
        return []
    if words < ALONE:
        return [(whole, SHORT)]
    sentences = _with_questions(counted[:MOST_ALONE])
    pairs = [f"{one} {follows}" for one, follows in pairwise(sentences)]
    beside = [one for one in (*sentences, *pairs) if len(tokens(one)) >= ALONE]
    return [(whole, 1.0), *((one, PART) for one in beside if len(counted) > 1)]


def _learned(said: Said) -> Sequence[Finding]:
    """The classifier, on what counts: it cannot tell what is denied or long past."""
    from galenic.assistant.triage.raising import classifier  # numpy: not for texts that are clear

    read = pieces(said.reading.counted)
    if not read or languages.notice(said.text):
        return ()  # it has learnt English alone
    found = [one for piece, factor in read for one in classifier.findings(piece, factor)]
    whole = read[0][0]
    if not found and classifier.estimate(whole).self_harm >= HINT:
        return self_harm.hinted(whole)
    return found


def _with_questions(sentences: Sequence[str]) -> list[str]:
    """The sentences, a question together with what it is asked about."""
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
"""By name, in the order in which they run."""
