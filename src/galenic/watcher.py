"""Who is told how far long work is."""

from __future__ import annotations

from typing import Protocol

__all__ = ["SilentWatcher", "StepWatcher", "Watcher"]


class Watcher(Protocol):
    """Who is told how far the work is; the command line shows bars, tests look on."""

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        """A new stage begins; ``total`` is its size where known, ``done`` what is there already."""

    def advance(self, done: int, note: str = "") -> None:
        """So much of the stage is done."""

    def say(self, text: str) -> None:
        """One line worth knowing."""

    def keep(self, text: str) -> None:
        """Some lines worth seeing until the next such lines take their place."""


class SilentWatcher:
    """Tells nobody."""

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        """Say nothing."""

    def advance(self, done: int, note: str = "") -> None:
        """Say nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def keep(self, text: str) -> None:
        """Say nothing."""


class StepWatcher:
    """Turns calls of `galenic.cache.Progress` into stages of a watcher."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.shown: tuple[str, int] | None = None

    def show(self, what: str, done: int, total: int) -> None:
        """So much of this step is done."""
        if self.shown != (what, total):
            self.shown = (what, total)
            self.watcher.stage(what, total or None)
        self.watcher.advance(done)
