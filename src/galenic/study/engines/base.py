"""What an engine is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

__all__ = ["Engine"]


class Engine(ABC):
    """Does nodes, each in a process of its own that works in the node's folder.

    Attributes:
        name: registry name.
        where: for people, where it works.
    """

    name: ClassVar[str]
    where: str = ""

    @abstractmethod
    def fits(self, needed: int) -> bool:
        """Whether a node that takes so many bytes may start beside those that run."""

    @abstractmethod
    def start(self, folder: Path, needed: int) -> None:
        """Begin to do the node in a folder."""

    @abstractmethod
    def ended(self) -> dict[Path, int]:
        """Folders whose process has ended since the last call, with its exit status.

        A negative status is the number of the signal that ended it.
        """

    @abstractmethod
    def stop(self) -> None:
        """End all that run, and let go of everything."""
