"""The local engine: how much at once, real processes, and what memory is counted."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from galenic.errors import UserError
from galenic.registry import ENGINES
from galenic.study.engines.base import thread_environment
from galenic.study.engines.local import LocalEngine
from galenic.study.estimate import memory_needed
from galenic.study.graph import Node
from galenic.study.store import NodeFolder

RECIPE = "name: r\ndescription: d\nstages:\n- {{stage: {}, method: {}{}}}\n"
GB = 10**9


def node(kind: str = "answers", dtype: str = "float32", **spec: object) -> Node:
    return Node(kind, "k", "t", (), {"config": {"dtype": dtype}, **spec}, 10**9)


def stage(name: str, method: str, options: str = "") -> Node:
    return node("stage", recipe=RECIPE.format(name, method, options))


def test_memory_grows_with_what_is_held() -> None:
    answers, half = memory_needed(node()), memory_needed(node(dtype="bfloat16"))
    assert half < answers
    assert answers - half == 2 * GB  # two bytes of four, for 10^9 weights
    prune = memory_needed(stage("prune", "magnitude"))
    tune = memory_needed(stage("finetune", "lora", ", train: medquad"))
    heal = memory_needed(stage("distill", "logits"))
    assert answers < prune < tune < heal
    assert memory_needed(node("perplexity")) > answers


def test_only_so_many_start_at_once_and_only_what_fits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("galenic.study.engines.local.command_of", lambda _: ["sleep", "30"])
    engine = LocalEngine(jobs=2)
    engine.budget = 10 * GB
    assert engine.fits(99 * GB)  # alone it may try
    engine.start(tmp_path, 6 * GB)
    assert not engine.fits(5 * GB)
    assert engine.fits(4 * GB)
    other = tmp_path / "other"
    other.mkdir()
    engine.start(other, 1 * GB)
    assert not engine.fits(1)
    assert engine.ended() == {}
    processes = [psutil.Process(process.pid) for process, _ in engine.running.values()]
    engine.stop()
    assert not any(process.is_running() for process in processes)


def test_threads_that_are_asked_for_hold_for_every_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 16)
    monkeypatch.setenv("GALENIC_THREADS", "3")
    for jobs in (None, 1, 5):
        assert LocalEngine(jobs=jobs).threads == 3
    assert thread_environment(3)["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("GALENIC_THREADS", "none")
    with pytest.raises(UserError, match="GALENIC_THREADS=none"):
        LocalEngine()


def test_cores_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GALENIC_THREADS", raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 16)
    assert (LocalEngine().jobs, LocalEngine().threads) == (4, 4)
    assert (LocalEngine(jobs=3).jobs, LocalEngine(jobs=3).threads) == (3, 5)
    with pytest.raises(UserError, match="--address"):
        LocalEngine(address="host:1")


@pytest.mark.slow
def test_a_node_that_cannot_work_says_why_and_ends_with_status_1(tmp_path: Path) -> None:
    folder = NodeFolder(tmp_path / "answers-k")
    spec = {"model": None, "base": "./missing", "data": "sample"}
    config = {"benchmarks": ["medmcqa"], "scoring": ["letter"]}
    folder.begin(Node("answers", "k", "t", (), {**spec, "config": config}, 1))
    engine = LocalEngine(jobs=1)
    engine.start(folder.path, 1)
    deadline = time.monotonic() + 120
    while not (ended := engine.ended()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ended == {folder.path: 1}
    failure = folder.failure
    assert failure is not None
    assert (failure.kind, folder.result) == ("user", None)
    assert "missing" in failure.message
    assert "UserError" in folder.log.read_text()


def test_engines_are_found_by_name() -> None:
    assert list(ENGINES) == ["local", "ray"]
    with pytest.raises(UserError, match="unknown engine"):
        ENGINES.check("locale")
