"""What an engine is."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from galenic.runtimes.threads import asked_threads

__all__ = ["THREADS", "Engine", "thread_environment", "threads_each"]

THREADS = 4
"""Of each process; more gain little, so that further cores do further nodes."""


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


def threads_each(share: int) -> int:
    """Threads of each process: what GALENIC_THREADS says, otherwise its share of the processors.

    Sums of floating-point numbers depend on how they are cut up among threads, so only runs with
    the same number of threads give the same bytes.

    Args:
        share: processors that are there for each process.
    """
    return asked_threads() or max(1, share)


def thread_environment(threads: int) -> dict[str, str]:
    """The environment of a process that is to compute with so many threads."""
    return {**os.environ, "GALENIC_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
