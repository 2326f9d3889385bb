"""Progress of a study's nodes: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from galenic.cli.output import log, progress_console
from galenic.cli.progress import PLAIN_EVERY
from galenic.study.store import NodeFolder, State
from galenic.units import about_time, format_time

__all__ = ["StudyBoard", "how_far", "state_line"]

STATES: tuple[State, ...] = ("done", "running", "waiting", "failed", "blocked")
MOST_ROWS = 12
"""Failed nodes shown below those that run."""


class StudyBoard:
    """Shows a study on standard error; use as a context manager.

    Args:
        titles: of the nodes, by id.
        console: where to.
    """

    def __init__(self, titles: Mapping[str, str], console: Console | None = None) -> None:
        self.titles = titles
        self.console = console or progress_console()
        self.live: Live | None = None
        if self.console.is_terminal:
            self.live = Live(console=self.console, refresh_per_second=4)
        self.before: dict[str, State] = {}
        self.told = 0.0
        self.began, self.first = time.monotonic(), -1

    def __enter__(self) -> StudyBoard:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.live:
            self.live.stop()

    def update(self, states: Mapping[str, State], folders: Mapping[str, NodeFolder]) -> None:
        """Show the current state of every node."""
        if self.live:
            self.live.update(self._table(states, folders))
            return
        for node_id, state in states.items():
            if state != self.before.get(node_id, "waiting") and self.before:
                self.say(f"{self.titles[node_id]}: {state}  ({self._line(states)})")
        if not self.before:
            self.say(self._line(states))
        self.before = dict(states)
        if time.monotonic() - self.told >= PLAIN_EVERY:
            self.told = time.monotonic()
            for node_id, state in states.items():
                if state == "running":
                    self.say(f"{self.titles[node_id]}: {how_far(folders[node_id].progress)}")

    def say(self, text: str) -> None:
        """One line worth knowing."""
        log.info("%s", text)
        self.console.print(text, markup=False, highlight=False)

    def _line(self, states: Mapping[str, State]) -> str:
        """Numbers of nodes by state, time elapsed, and what is left at the pace so far."""
        done = Counter(states.values())["done"]
        if self.first < 0:
            self.first = done
        elapsed = time.monotonic() - self.began
        line = f"{state_line(states)}; {format_time(elapsed)} elapsed"
        if done > self.first and done < len(states):
            left = elapsed / (done - self.first) * (len(states) - done)
            line += f", about {about_time(left)} left at this pace"
        return line

    def _table(
        self, states: Mapping[str, State], folders: Mapping[str, NodeFolder]
    ) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold underline")
        for name in ("", "node", "how far"):
            table.add_column(name)
        for node_id, state in states.items():
            if state == "running":
                shown = how_far(folders[node_id].progress)
                table.add_row("running", Text(self.titles[node_id]), Text(shown))
        failed = [node_id for node_id, state in states.items() if state == "failed"]
        for node_id in failed[:MOST_ROWS]:
            why = folders[node_id].failure
            table.add_row(
                "failed", Text(self.titles[node_id]), Text(why.message if why else "", style="red")
            )
        return Group(Text(self._line(states), style="bold"), table)


def state_line(states: Mapping[str, State]) -> str:
    """``12 of 40 nodes done, 1 running, 27 waiting``."""
    counts = Counter(states.values())
    others = [f"{counts[state]} {state}" for state in STATES[1:] if counts[state]]
    return ", ".join([f"{counts['done']} of {len(states)} nodes done", *others])


def how_far(facts: Mapping[str, Any]) -> str:
    """Stage, share done, pace and time left of a node that runs."""
    if not facts:
        return "starting"
    done, total, seconds = facts["done"], facts["total"], facts["seconds"]
    if not total:
        return str(facts["stage"])
    line = f"{facts['stage']}: {done} of {total}"
    speed = (done - facts["begun_at"]) / seconds if seconds else 0.0
    if speed > 0:
        pace = f"{speed:.1f} items/s" if speed >= 1 else f"{1 / speed:.1f} s each"
        line += f", {pace}, {format_time((total - done) / speed)} left"
    return line
