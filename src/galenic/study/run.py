"""Run a study: start what is ready, keep what is done, and go on past what fails."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from galenic.study.engines.base import Engine
from galenic.study.estimate import memory_needed
from galenic.study.graph import Graph, Node
from galenic.study.store import NodeFailure, NodeFolder, State, StudyFolder

__all__ = ["Board", "StudyOutcome", "run_graph"]

POLL = 0.2
"""Seconds between two looks at the engine."""
TRIES = 2
"""A node whose process was ended from outside is started so often."""


class Board(Protocol):
    """Who is shown how the nodes stand."""

    def update(self, states: Mapping[str, State], folders: Mapping[str, NodeFolder]) -> None:
        """How every node stands now."""

    def say(self, text: str) -> None:
        """One line worth knowing."""


@dataclass(frozen=True)
class StudyOutcome:
    """How a run of a study ended.

    Attributes:
        states: of every node.
        computed: nodes that this run has done.
        full: the disk is full, so nothing more was started.
    """

    states: dict[str, State]
    computed: int
    full: bool

    @property
    def complete(self) -> bool:
        """Whether every node is done."""
        return all(state == "done" for state in self.states.values())


@dataclass
class _Run:
    graph: Graph
    store: StudyFolder
    engine: Engine
    board: Board
    states: dict[str, State]
    folders: dict[str, NodeFolder]
    order: list[Node]
    tries: dict[str, int] = field(default_factory=dict)
    computed: int = 0
    full: bool = False


def run_graph(graph: Graph, store: StudyFolder, engine: Engine, board: Board) -> StudyOutcome:
    """Do every node that is not done; those that failed before are tried again.

    What was started is ended when this is interrupted; the same call goes on from there.
    """
    folders = {node_id: store.node(node_id) for node_id in graph.nodes}
    states: dict[str, State] = {
        node_id: "waiting" if folder.result is None else "done"
        for node_id, folder in folders.items()
    }
    run = _Run(graph, store, engine, board, states, folders, _longest_first(graph))
    try:
        while _go_on(run):
            board.update(states, folders)
            time.sleep(POLL)
        board.update(states, folders)
    finally:
        engine.stop()
    return StudyOutcome(states, run.computed, run.full)


def _longest_first(graph: Graph) -> list[Node]:
    """Nodes by how many others wait for them one behind the other: the longest chain first."""
    behind = dict.fromkeys(graph.nodes, 0)
    for node in reversed(graph.nodes.values()):  # a node stands behind those that it needs
        for need in node.needs:
            behind[need] = max(behind[need], 1 + behind[node.id])
    return sorted(graph.nodes.values(), key=lambda node: -behind[node.id])


def _go_on(run: _Run) -> bool:
    """Take in what has ended and start what can; whether there is more to wait for."""
    for path, status in run.engine.ended().items():
        _take_in(run, path, status)
    for node in run.order:
        if run.states[node.id] == "waiting":
            _try_to_start(run, node)
    return "running" in run.states.values()


def _try_to_start(run: _Run, node: Node) -> None:
    needs = [run.states[need] for need in node.needs]
    if {"failed", "blocked"} & set(needs):
        run.states[node.id] = "blocked"
        return
    running = [run.graph.nodes[i] for i, state in run.states.items() if state == "running"]
    if run.full or any(need != "done" for need in needs) or _disturbs(node, running):
        return
    if node.kind == "speed" and _others_wait(run):
        return
    needed = memory_needed(node)
    if not run.engine.fits(needed):
        return
    folder = run.folders[node.id]
    folder.begin(node)
    run.engine.start(folder.path, needed)
    run.states[node.id] = "running"
    run.tries[node.id] = run.tries.get(node.id, 0) + 1


def _disturbs(node: Node, running: Sequence[Node]) -> bool:
    """Whether it, or one that runs, measures speed: that is done alone."""
    return bool(running) and any(one.kind == "speed" for one in (node, *running))


def _others_wait(run: _Run) -> bool:
    """Speed comes last, so that nothing waits for it."""
    return any(
        state in ("waiting", "running") and run.graph.nodes[node_id].kind != "speed"
        for node_id, state in run.states.items()
    )


def _take_in(run: _Run, path: Path, status: int) -> None:
    node = run.graph.nodes[path.name]
    folder = run.folders[node.id]
    if folder.result is not None:
        run.states[node.id] = "done"
        run.computed += 1
        return
    failure = folder.failure
    if failure is None and run.tries[node.id] < TRIES:
        run.board.say(f"{node.title}: its process was ended (status {status}); once more")
        run.states[node.id] = "waiting"
        return
    if failure is None:
        failure = NodeFailure("killed", f"its process was ended (status {status}) {TRIES} times")
        folder.fail(failure)
    run.states[node.id] = "failed"
    run.board.say(f"{node.title} failed: {failure.message}\n  log: {folder.log}")
    if failure.kind == "disk" and not run.full:
        run.full = True
        run.board.say("the disk is full: nothing more is started. Make room and run it again.")
