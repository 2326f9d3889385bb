"""The layers that can only raise the tier, in one list.

The first layer (`galenic.assistant.triage.concepts`) decides; each of these adds findings to its
own. A new one is a function from `Said` to findings, and a line in `RAISING`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from galenic.assistant.triage.raising import languages, poisoning, self_harm, values
from galenic.assistant.triage.result import Finding
from galenic.assistant.triage.said import Said

__all__ = ["RAISING"]

Find = Callable[[Said], Sequence[Finding]]


FEWEST, ALONE, MOST_ALONE = 6, 6, 40
"""Words that a text, and that a sentence read by itself, must have; sentences read so. Each alone,
and each with the next one, counts as well, so that what is said beside an emergency does not make
it less of one."""
HINT = 0.12
"""From this probability of self-harm on, about half of the classifier's own limit, one weaker word
of `self_harm` is enough."""


def _learned(said: Said) -> Sequence[Finding]:
    """The classifier, on what counts: it cannot tell what is denied or long past."""
    from galenic.assistant.triage.raising import classifier  # numpy: not for texts that are clear
    from galenic.assistant.triage.raising.features import tokens

    sentences = _with_questions(said.reading.counted[:MOST_ALONE])
    counted = " ".join(said.reading.counted)
    if not counted or len(tokens(counted)) < FEWEST or languages.notice(said.text):
        return ()  # it has learnt English alone
    pairs = [f"{one} {follows}" for one, follows in pairwise(sentences)]
    beside = [one for one in (*sentences, *pairs) if len(tokens(one)) >= ALONE]
    found = list(classifier.findings(counted))
    for piece in beside if len(said.reading.counted) > 1 else ():
        found += classifier.findings(piece, part=True)
    if not found and classifier.estimate(counted).self_harm >= HINT:
        return self_harm.hinted(counted)
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
