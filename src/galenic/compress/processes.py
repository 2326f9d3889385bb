"""Which of several processes this is, as ``torchrun`` and ``accelerate launch`` tell it."""

from __future__ import annotations

import os

__all__ = ["SilentWatcher", "num_local", "rank"]


def rank() -> int:
    """Number of this process from 0; the first one writes and speaks."""
    return int(os.environ.get("RANK", "0"))


def num_local() -> int:
    """How many of them share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


class SilentWatcher:
    """For all processes but the first."""

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        """Say nothing."""

    def advance(self, done: int, note: str = "") -> None:
        """Say nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def keep(self, text: str) -> None:
        """Say nothing."""
