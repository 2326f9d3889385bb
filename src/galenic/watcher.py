"""Progress reporting: the protocol that long-running functions call."""

from __future__ import annotations

from typing import Protocol

__all__ = ["SilentWatcher", "StepWatcher", "Watcher"]


class Watcher(Protocol):
    """Receives progress of long-running work; the command line shows it as progress bars."""

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        """Begin a stage of ``total`` units (None if unknown), of which ``done`` exist already."""

    def advance(self, done: int, note: str = "") -> None:
        """Report that ``done`` units of the current stage are finished, with an optional note."""

    def say(self, text: str) -> None:
        """Show one line of information."""

    def keep(self, text: str) -> None:
        """Show lines of text that stay visible until the next call replaces them."""


class SilentWatcher:
    """A watcher that ignores all reports."""

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        """Say nothing."""

    def advance(self, done: int, note: str = "") -> None:
        """Say nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def keep(self, text: str) -> None:
        """Say nothing."""


MEGABYTE = 1_000_000


class StepWatcher:
    """Adapter from `galenic.cache.Progress` callbacks to the stages of a watcher."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.shown: tuple[str, int] | None = None

    def show(self, what: str, done: int, total: int) -> None:
        """Report bytes done, as MB; a new ``what`` or ``total`` begins a stage (0 = unknown)."""
        if self.shown != (what, total):
            self.shown = (what, total)
            self.watcher.stage(f"{what}, MB", -(-total // MEGABYTE) or None)
        self.watcher.advance(done // MEGABYTE)
