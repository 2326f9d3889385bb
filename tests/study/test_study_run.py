"""Running a graph: order, failures, retries, a full disk, speed alone; with an engine of ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from galenic.errors import UserError
from galenic.study.engines.base import Engine
from galenic.study.graph import Cell, Graph, Node
from galenic.study.run import run_graph
from galenic.study.store import NodeFailure, NodeFolder, State, StudyFolder

RECIPE = "name: r\ndescription: d\nstages:\n- {stage: prune, method: magnitude, sparsity: 0.2}\n"


class Script(Engine):
    """Ends every node at once, as it is told: a result, a failure, or a signal."""

    name = "script"

    def __init__(self, told: Mapping[str, list[NodeFailure | int]], room: int = 99) -> None:
        self.told = {key: list(value) for key, value in told.items()}
        self.room = room
        self.started: list[str] = []
        self.running: list[Path] = []
        self.together: list[set[str]] = []
        self.stopped = False

    def fits(self, needed: int) -> bool:
        assert needed > 1e9
        return len(self.running) < self.room

    def start(self, folder: Path, needed: int) -> None:
        self.started.append(folder.name)
        self.running.append(folder)
        self.together.append({path.name for path in self.running})

    def ended(self) -> dict[Path, int]:
        found = {}
        for path in self.running:
            what = (self.told.get(path.name) or [0]).pop(0)
            if isinstance(what, NodeFailure):
                NodeFolder(path).fail(what)
            elif what == 0:
                NodeFolder(path).finish({})
            found[path] = what if isinstance(what, int) else 1
        self.running = []
        return found

    def stop(self) -> None:
        self.stopped = True


class Board:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def update(self, states: Mapping[str, State], folders: Mapping[str, NodeFolder]) -> None:
        assert set(states) == set(folders)

    def say(self, text: str) -> None:
        self.lines.append(text)


def node(name: str, *needs: str, kind: str = "stage") -> Node:
    config = {"dtype": "float32"}
    return Node(kind, name, name, needs, {"recipe": RECIPE, "config": config}, 10)


def graph(*nodes: Node) -> Graph:
    cell = Cell("dense", "dense", "m", None, {}, None, None, {}, "")
    return Graph({one.id: one for one in nodes}, (cell,), {}, [])


@pytest.fixture
def store(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "study")


def test_nodes_wait_for_those_they_need_and_are_done_once(store: StudyFolder) -> None:
    whole = graph(node("a"), node("b", "stage-a"), node("c", "stage-b"), node("d"))
    engine = Script({})
    outcome = run_graph(whole, store, engine, Board())
    assert outcome.complete
    assert outcome.computed == 4
    order = engine.started
    assert order.index("stage-a") < order.index("stage-b") < order.index("stage-c")
    assert engine.together[0] == {"stage-a"}
    assert {"stage-a", "stage-d"} in engine.together
    again = Script({})
    assert run_graph(whole, store, again, Board()).computed == 0
    assert again.started == []


def test_what_most_wait_for_begins_first(store: StudyFolder) -> None:
    whole = graph(
        node("x", kind="answers"), node("a"), node("b"), node("c", "stage-b"), node("d", "stage-c")
    )
    engine = Script({}, room=1)
    assert run_graph(whole, store, engine, Board()).complete
    assert engine.started == ["stage-b", "stage-c", "answers-x", "stage-a", "stage-d"]


def test_what_fails_blocks_only_what_needs_it_and_is_tried_again_later(store: StudyFolder) -> None:
    whole = graph(node("a"), node("b", "stage-a"), node("c", "stage-b"), node("d"))
    board = Board()
    why = NodeFailure("user", "no such thing")
    outcome = run_graph(whole, store, Script({"stage-a": [why]}), board)
    assert outcome.states == {
        "stage-a": "failed", "stage-b": "blocked", "stage-c": "blocked", "stage-d": "done",
    }  # fmt: skip
    assert any("no such thing" in line and "log" in line for line in board.lines)
    assert store.node("stage-a").failure == why
    outcome = run_graph(whole, store, Script({}), Board())
    assert outcome.complete
    assert outcome.computed == 3
    assert store.node("stage-a").failure is None


def test_a_process_that_was_ended_is_started_again_once(store: StudyFolder) -> None:
    whole = graph(node("a"), node("b"))
    engine = Script({"stage-a": [-9, 0], "stage-b": [-9, -9]})
    outcome = run_graph(whole, store, engine, Board())
    assert outcome.states == {"stage-a": "done", "stage-b": "failed"}
    assert engine.started.count("stage-a") == engine.started.count("stage-b") == 2
    failure = store.node("stage-b").failure
    assert failure is not None
    assert failure.kind == "killed"


def test_a_full_disk_starts_nothing_more(store: StudyFolder) -> None:
    whole = graph(node("a"), node("b"), node("c"))
    board = Board()
    engine = Script({"stage-a": [NodeFailure("disk", "no space left")]}, room=1)
    outcome = run_graph(whole, store, engine, board)
    assert outcome.full
    assert not outcome.complete
    assert engine.started == ["stage-a"]
    assert outcome.states["stage-b"] == "waiting"
    assert any("disk is full" in line for line in board.lines)


def test_speed_is_measured_last_and_alone(store: StudyFolder) -> None:
    speeds = [node("s", kind="speed"), node("t", kind="speed")]
    engine = Script({})
    run_graph(graph(*speeds, node("a"), node("b", "stage-a")), store, engine, Board())
    assert engine.started[-2:] == ["speed-s", "speed-t"]
    assert all(len(names) == 1 for names in engine.together if names & {"speed-s", "speed-t"})


def test_an_interruption_ends_what_runs(store: StudyFolder) -> None:
    class Impatient(Board):
        def update(self, states: Mapping[str, State], folders: Mapping[str, NodeFolder]) -> None:
            raise KeyboardInterrupt

    engine = Script({})
    with pytest.raises(KeyboardInterrupt):
        run_graph(graph(node("a")), store, engine, Impatient())
    assert engine.stopped


def test_one_study_runs_in_a_folder_at_a_time(store: StudyFolder, tmp_path: Path) -> None:
    with store.held(), pytest.raises(UserError, match="galenic status"), store.held():
        pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds no study"):
        StudyFolder(tmp_path / "other")
    with pytest.raises(UserError, match="is a file"):
        StudyFolder(tmp_path / "other" / "notes.txt")
    with pytest.raises(UserError, match="holds no study"):
        StudyFolder(tmp_path / "none").read()


def test_states_are_read_from_the_folders(store: StudyFolder) -> None:
    whole = graph(node("a"), node("b", "stage-a"), node("c"), node("d"))
    store.path.mkdir()
    facts: dict[str, object] = {"name": "x", "description": "", "command": "", "versions": {}}
    whole.sizes.update(
        {cell.model: {"file_bytes": 1, "bits_per_weight": 4.0} for cell in whole.cells}
    )
    store.write(facts | {"evaluate": {"scoring": ["letter"]}}, whole)
    store.node("stage-a").fail(NodeFailure("crash", "x"))
    store.node("stage-c").begin(whole.nodes["stage-c"])
    with store.node("stage-c").held(1):
        assert store.states() == {
            "stage-a": "failed", "stage-b": "blocked", "stage-c": "running", "stage-d": "waiting",
        }  # fmt: skip
    assert store.states()["stage-c"] == "waiting"
    store.node("stage-c").finish({"x": 1})
    assert store.states()["stage-c"] == "done"
    assert store.cells() == list(whole.cells)
