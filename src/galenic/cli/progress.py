"""How far long work is: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
)
from rich.text import Text

from galenic.cli.output import echo, log, progress_console
from galenic.units import about_time, format_time

__all__ = ["ConsoleWatcher", "watched"]

PLAIN_EVERY = 20.0
"""Seconds between plain lines, so that a log file stays readable."""

SPEED_PERIOD = 300.0
"""Seconds over which the bar takes the speed: a step of a training may last some of them."""


AFTER, LONG = 5.0, 60.0
"""Seconds after which the speed of a stage is known, and that are worth an estimate."""


class _Clock(ProgressColumn):
    """``15 s elapsed, 40 s left``."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """The time of the stage so far, and what is left of it."""
        shown = f"{format_time(task.elapsed or 0)} elapsed"
        if task.total and task.time_remaining is not None:
            shown += f", {format_time(task.time_remaining)} left"
        return Text(shown, style="progress.elapsed")


class _Bar(Progress):
    """A bar with some lines below it."""

    below = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        if self.below:
            yield Text(self.below)


class ConsoleWatcher:
    """Shows stages on standard error; use as a context manager.

    Args:
        console: where to.
        estimate: say early how long a long stage will take.
        less: what to do if that is too long, as the end of a sentence.
    """

    def __init__(
        self, console: Console | None = None, *, estimate: bool = True, less: str = ""
    ) -> None:
        self.console = console or progress_console()
        self.estimate, self.less, self._estimated = estimate, less, False
        self._progress: _Bar | None = None
        self._title, self._total = "", 0
        self._began = self._told = 0.0
        self._start_at = 0
        if self.console.is_terminal:
            self._progress = _Bar(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TextColumn("{task.fields[note]}", markup=False),
                _Clock(),
                console=self.console,
                speed_estimate_period=SPEED_PERIOD,
            )
            self._task = self._progress.add_task("", total=None, rate="", note="")

    def __enter__(self) -> ConsoleWatcher:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._progress:
            self._progress.stop()

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        """Begin a stage; items done by an earlier run do not count towards the speed."""
        self._title, self._total, self._start_at = text, total or 0, done
        self._began = self._told = time.monotonic()
        self._estimated = not self.estimate
        log.info("%s", f"{text}{f': {total} to do' if total else ''}")
        if self._progress:
            self._progress.reset(
                self._task, description=text, total=total, completed=done, rate="", note=""
            )
        else:
            self._print(f"{text}{f': {total} to do' if total else ''}")

    def advance(self, done: int, note: str = "") -> None:
        """So much of the stage is done."""
        now = time.monotonic()
        speed = (done - self._start_at) / (now - self._began) if now > self._began else 0.0
        rate = _rate(speed) if speed else ""
        self._say_estimate(now - self._began, speed, done)
        if self._progress:
            self._progress.update(self._task, completed=done, rate=rate, note=note)
        elif now - self._told >= PLAIN_EVERY:
            self._told = now
            times = f"{format_time(now - self._began)} elapsed"
            if speed and self._total:
                times += f", {format_time((self._total - done) / speed)} left"
            shown = ", ".join(part for part in (rate, note, times) if part)
            self._print(f"{self._title}: {done} of {self._total}, {shown}")

    def _say_estimate(self, seconds: float, speed: float, done: int) -> None:
        """Say once, as soon as the speed is known, how long a long stage takes."""
        if self._estimated or seconds < AFTER or not (speed and self._total):
            return
        self._estimated = True
        left = (self._total - done) / speed
        if left >= LONG:
            less = f"; {self.less}" if self.less else ""
            self.say(f"{self._title}: about {about_time(left)} on this machine{less}")

    def say(self, text: str) -> None:
        """One line worth knowing, above the bar."""
        log.info("%s", text)
        self._print(text)

    def _print(self, text: str) -> None:
        """One line, which only a terminal breaks: files are searched by line."""
        whole = not self.console.is_terminal
        self.console.print(text, markup=False, highlight=False, soft_wrap=whole)

    def keep(self, text: str) -> None:
        """Lines that stay below the bar; where there is none, lines like others."""
        if self._progress:
            self._progress.below = text
            self._progress.refresh()
        else:
            self.say(text)


def _rate(speed: float) -> str:
    return f"{speed:.1f} items/s" if speed >= 1 else f"{1 / speed:.1f} s each"


@contextmanager
def watched(left: str, *, estimate: bool = True, less: str = "") -> Iterator[ConsoleWatcher]:
    """Show the progress of long work; Ctrl-C ends it with status 130.

    Args:
        left: what then remains of it, as a sentence.
        estimate, less: as for `ConsoleWatcher`.
    """
    try:
        with ConsoleWatcher(estimate=estimate, less=less) as watcher:
            yield watcher
    except KeyboardInterrupt:
        echo(f"\nstopped. {left}".rstrip(), err=True)
        raise typer.Exit(130) from None
