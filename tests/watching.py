"""A watcher that remembers."""

from __future__ import annotations

__all__ = ["Notes"]


class Notes:
    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.done = 0

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        self.stages.append((text, total))

    def advance(self, done: int, note: str = "") -> None:
        self.done = done

    def say(self, text: str) -> None: ...
    def keep(self, text: str) -> None: ...
