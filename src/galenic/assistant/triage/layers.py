"""The layers that can only raise the tier, in one list.

The first layer (`galenic.assistant.triage.concepts`) decides; each of these adds findings to its
own. A new one is a function from `Said` to findings, and a line in `RAISING`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from galenic.assistant.triage.reading import Reading
from galenic.assistant.triage.result import Finding

__all__ = ["RAISING", "Said"]


@dataclass(frozen=True)
class Said:
    """What a layer is given.

    Attributes:
        text: the message as it was written, whole.
        reading: what the first layer read in it.
        people: the groups of people that are meant.
        months: ages in months that the message, its history or a record gives.
    """

    text: str
    reading: Reading
    people: tuple[str, ...]
    months: tuple[float, ...]


Find = Callable[[Said], Sequence[Finding]]

RAISING: dict[str, Find] = {}
"""By name, in the order in which they run."""
