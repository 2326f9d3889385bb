"""Epochs whose texts are generated anew each time, all with the same number of texts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

__all__ = ["Passes"]

Item = TypeVar("Item")


class Passes(ABC, Generic[Item]):
    """Training texts generated epoch by epoch; implements `galenic.training.loop.TrainData`.

    All epochs have as many texts as the first one: a later epoch that has more is truncated, and
    one that has fewer repeats its first texts.

    Attributes:
        heldout: see `TrainData`.
    """

    heldout: Sequence[Item]

    def __init__(self, first: tuple[Item, ...]) -> None:
        self._first = first
        self._last = (0, first)

    @abstractmethod
    def _items(self, number: int) -> tuple[Item, ...]:
        """Return the texts of a later epoch, of any number."""

    def epoch(self, number: int) -> Sequence[Item]:
        """Return the texts of an epoch, counted from 0."""
        if self._last[0] != number:
            items = self._items(number) if number else self._first
            size = len(self._first)
            again = -(-size // max(1, len(items)))
            self._last = (number, (items * again)[:size])
        return self._last[1]
