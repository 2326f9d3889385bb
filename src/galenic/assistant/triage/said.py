"""Input type of the raising layers of triage."""

from __future__ import annotations

from dataclasses import dataclass

from galenic.assistant.triage.reading import Reading
from galenic.assistant.triage.words.measures import Measured

__all__ = ["Said"]


@dataclass(frozen=True)
class Said:
    """A message together with the features that the raising layers of triage use.

    Attributes:
        text: The raw text: the current message alone, or joined with the earlier ones.
        reading: Concepts and sentences that the rule layer extracted from the current message and
            from earlier ones.
        people: Ids of the population groups that apply, such as ``infant`` or ``pregnant``; keys of
            ``populations`` in ``rules.yaml``.
        months: Ages in months, as stated in the message, in earlier messages or in a health record.
        measured: Measured values found in ``text``, such as a temperature.
    """

    text: str
    reading: Reading
    people: tuple[str, ...] = ()
    months: tuple[float, ...] = ()
    measured: tuple[Measured, ...] = ()
