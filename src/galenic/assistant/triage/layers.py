"""The layers that can only raise the tier, in one list.

The first layer (`galenic.assistant.triage.concepts`) decides; each of these adds findings to its
own. A new one is a function from `Said` to findings, and a line in `RAISING`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from galenic.assistant.triage import classifier, languages, poisoning, self_harm, values
from galenic.assistant.triage.result import Finding
from galenic.assistant.triage.said import Said

__all__ = ["RAISING"]

Find = Callable[[Said], Sequence[Finding]]


def _learned(said: Said) -> Sequence[Finding]:
    """The classifier, save for texts in which nobody is said to be ill now."""
    return () if said.reading.general else classifier.findings(said.text)


RAISING: dict[str, Find] = {
    "self-harm": self_harm.find,
    "poisoning": poisoning.find,
    "values": values.find,
    "languages": lambda said: languages.findings(said.text),
    "classifier": _learned,
}
"""By name, in the order in which they run."""
