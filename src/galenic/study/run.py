"""Scheduler of a study: starts nodes that are ready, and continues past failures."""

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
"""Seconds between two polls of the engine."""
TRIES = 2
"""Maximum number of starts of a node whose process is killed."""


class Board(Protocol):
    """Receives the states of the nodes, for display."""

    def update(self, states: Mapping[str, State], folders: Mapping[str, NodeFolder]) -> None:
        """Show the current state of all nodes."""

    def say(self, text: str) -> None:
        """Show one line of information."""


@dataclass(frozen=True)
class StudyOutcome:
    """Outcome of running a study.

    Attributes:
        states: state of each node by id.
        computed: number of nodes completed by this run.
        full: whether the disk is full, so that no more nodes were started.
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
    """Execute all unfinished nodes, including those that failed before.

    If interrupted, running nodes are terminated; the same call continues from there.
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
    """Sort nodes by the length of the longest chain of nodes that depend on them, longest first."""
    behind = dict.fromkeys(graph.nodes, 0)
    for node in reversed(graph.nodes.values()):  # nodes come after their dependencies
        for need in node.needs:
            behind[need] = max(behind[need], 1 + behind[node.id])
    return sorted(graph.nodes.values(), key=lambda node: -behind[node.id])


def _go_on(run: _Run) -> bool:
    """Handle ended nodes and start ready ones; return whether any node is running."""
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
    """Whether a node must wait, as speed is measured with no other node running."""
    return bool(running) and any(one.kind == "speed" for one in (node, *running))


def _others_wait(run: _Run) -> bool:
    """Whether other nodes are unfinished; speed is measured last."""
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
        run.board.say(f"{node.title}: its process was killed (status {status}); trying once more")
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
