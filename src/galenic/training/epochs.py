"""Passes over texts that are written anew each time, all of the same number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

__all__ = ["Passes"]

Item = TypeVar("Item")


class Passes(ABC, Generic[Item]):
    """What is learnt, pass by pass, and what is held out; a `galenic.training.loop.TrainData`.

    All passes have as many texts as the first: where weights make them uneven, the odd texts of a
    later one are left out, or its first ones come a second time.

    Attributes:
        heldout: see `TrainData`.
    """

    heldout: Sequence[Item]

    def __init__(self, first: tuple[Item, ...]) -> None:
        self._first = first
        self._last = (0, first)

    @abstractmethod
    def _items(self, number: int) -> tuple[Item, ...]:
        """The texts of a later pass, however many."""

    def epoch(self, number: int) -> Sequence[Item]:
        """The texts of a pass."""
        if self._last[0] != number:
            items = self._items(number) if number else self._first
            size = len(self._first)
            again = -(-size // max(1, len(items)))
            self._last = (number, (items * again)[:size])
        return self._last[1]
