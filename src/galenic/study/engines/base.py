"""Base class of execution engines."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from galenic.runtimes.threads import asked_threads

__all__ = ["THREADS", "Engine", "thread_environment", "threads_each"]

THREADS = 4
"""Threads per process; more gain little, so additional cores run additional nodes."""


class Engine(ABC):
    """Executes nodes, each in a separate process that works in the node's folder.

    Attributes:
        name: registry name.
        where: readable description of where nodes run.
    """

    name: ClassVar[str]
    where: str = ""

    @abstractmethod
    def fits(self, needed: int) -> bool:
        """Whether a node that needs ``needed`` bytes of memory may start now."""

    @abstractmethod
    def start(self, folder: Path, needed: int) -> None:
        """Start executing the node in a folder."""

    @abstractmethod
    def ended(self) -> dict[Path, int]:
        """Return the folders whose process has ended since the last call, with its exit status.

        A negative status is the number of the signal that ended it.
        """

    @abstractmethod
    def stop(self) -> None:
        """Terminate all running processes and release resources."""


def threads_each(share: int) -> int:
    """Return the number of threads per process: GALENIC_THREADS, or its share of the cores.

    Floating-point sums depend on how they are divided among threads, so results are reproducible
    bit by bit only with the same number of threads.

    Args:
        share: number of cores per process.
    """
    return asked_threads() or max(1, share)


def thread_environment(threads: int) -> dict[str, str]:
    """Return environment variables for a process that computes with ``threads`` threads."""
    return {**os.environ, "GALENIC_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
