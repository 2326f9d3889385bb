"""The layers that can only raise the tier, in one list.

The first layer (`galenic.assistant.triage.concepts`) decides; each of these adds findings to its
own. A new one is a function from `Said` to findings, and a line in `RAISING`.
"""

from __future__ import annotations

import re
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


_LEFT_OVER = re.compile(
    r"(?:if|when) (?!.*\b(?:die|dying|dead|kill|gone|myself|hurt))[^.,]{0,40}\. ?"
)
"""A condition alone, which is left where a figure of speech was taken out: it says nothing."""


def _learned(said: Said) -> Sequence[Finding]:
    """The classifier, on what counts: it cannot tell what is denied or long past."""
    from galenic.assistant.triage.raising import classifier  # numpy: not for texts that are clear
    from galenic.assistant.triage.raising.features import tokens

    counted = said.reading.counted
    if _LEFT_OVER.fullmatch(counted):
        return ()
    if not counted or len(tokens(counted)) < FEWEST or languages.notice(said.text):
        return ()  # it has learnt English alone
    sentences = [one for one in counted.split(". ") if one.strip()][:MOST_ALONE]
    pairs = [f"{one}. {follows}" for one, follows in pairwise(sentences)]
    beside = [one for one in (*sentences, *pairs) if len(tokens(one)) >= ALONE]
    pieces = [counted, *(beside if len(sentences) > 1 else ())]
    found = [one for piece in pieces for one in classifier.findings(piece)]
    if not found and classifier.estimate(counted).self_harm >= HINT:
        return self_harm.hinted(counted)
    return found


RAISING: dict[str, Find] = {
    "self-harm": self_harm.find,
    "poisoning": poisoning.find,
    "values": values.find,
    "languages": lambda said: languages.findings(said.text),
    "classifier": _learned,
}
"""By name, in the order in which they run."""
