"""What each raising layer of triage is given."""

from __future__ import annotations

from dataclasses import dataclass

from galenic.assistant.triage.reading import Reading
from galenic.assistant.triage.words.measures import Measured

__all__ = ["Said"]


@dataclass(frozen=True)
class Said:
    """A message, made ready for the layers.

    Attributes:
        text: the message as it was written, whole.
        reading: what the first layer read in it and in what was said before.
        people: the groups of people that are meant.
        months: ages in months that the message, its history or a record gives.
        measured: the values in it.
    """

    text: str
    reading: Reading
    people: tuple[str, ...] = ()
    months: tuple[float, ...] = ()
    measured: tuple[Measured, ...] = ()
