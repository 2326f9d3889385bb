"""``galenic study``, ``status`` and ``report`` as a user meets them, on a tiny model."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from commands import GALENIC, galenic
from tiny_hf import write_tiny_hf

pytest.importorskip("torch", reason="needs the train extra")

STUDY = """\
name: small
description: A recipe that works and one that does not.
calibration: {num_samples: 2, seq_len: 32}
evaluate: {benchmarks: [medmcqa], scoring: [letter], limit: 6}
measures: [answers, perplexity]
rows:
  - {name: dense}
  - {name: pruned, title: "Pruned | a third", stages: [{stage: prune, method: magnitude, sparsity: 0.3}]}
  - {name: small, from: pruned, stages: [{stage: quantize, method: kquant, bits: 8}]}
  - {name: wrong, stages: [{stage: prune, method: depth, sparsity: 0.99}]}
"""  # noqa: E501


def furnish(folder: Path) -> Path:
    write_tiny_hf(folder / "model", "llama")
    words = "the patient has fever and a cough for two weeks and pain in the chest at night"
    (folder / "text.txt").write_text("\n\n".join([words * 6] * 90))
    (folder / "study.yaml").write_text(STUDY)
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GALENIC_THREADS", "1")
    return furnish(tmp_path)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A home with a study that was run once, and what the command said."""
    folder = furnish(tmp_path_factory.mktemp("study"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GALENIC_THREADS", "1")
        for name in ("HOME", "GALENIC_CACHE"):
            patch.setenv(name, str(tmp_path_factory.mktemp("home")))
        return folder, galenic(*arguments("-o", "out"), folder=folder)


@pytest.fixture
def studied(
    first_run: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Any]:
    """The same in a folder of one's own."""
    monkeypatch.setenv("GALENIC_THREADS", "1")
    return shutil.copytree(first_run[0], tmp_path / "home"), first_run[1]


def arguments(*more: object) -> list[object]:
    return ["study", "study.yaml", "-m", "model", "--data", "sample", "--text", "text.txt", *more]


def without_the_wrong_row(home: Path, measures: str = "answers, perplexity") -> None:
    text = (home / "study.yaml").read_text().replace("[answers, perplexity]", f"[{measures}]")
    (home / "study.yaml").write_text("\n".join(text.splitlines()[:-1]) + "\n")


def finished(home: Path, output: str) -> dict[str, float]:
    """When each node of a study was finished."""
    return {
        path.parent.name: path.stat().st_mtime_ns
        for path in (home / output / "nodes").glob("*/result.json")
    }


@pytest.mark.slow
def test_a_study_from_beginning_to_report(studied: tuple[Path, Any]) -> None:
    home, done = studied
    assert done.returncode == 1  # one recipe cannot work
    assert "failed: --sparsity 0.99 removes" in done.stderr
    assert "log: " in done.stderr
    assert "1 failed, 2 blocked" in done.stdout
    shown = galenic("status", "out", folder=home)
    assert "failed    prune depth of model" in shown.stdout
    assert "blocked   wrong: medmcqa letter" in shown.stdout
    states = json.loads(galenic("status", "out", "--json", folder=home).stdout)["nodes"]
    assert sorted({one["state"] for one in states.values()}) == ["blocked", "done", "failed"]
    reported = galenic("report", "out", folder=home)
    assert reported.returncode == 0, reported.stderr
    text = (home / "out/report/report.md").read_text()
    assert "**Incomplete:**" in text
    assert "Pruned \\| a third" in text

    before = finished(home, "out")
    without_the_wrong_row(home)
    done = galenic(*arguments("-o", "out"), folder=home)
    assert done.returncode == 0, done.stderr
    assert "0 computed now" in done.stdout
    assert finished(home, "out") == before
    galenic("report", "out", folder=home)
    assert "Incomplete" not in (home / "out/report/report.html").read_text()
    found = json.loads((home / "out/report/report.json").read_text())
    assert [row["cell"]["variant"] for row in found["rows"]] == ["dense", "pruned", "small"]
    card = (home / "out/report/card-model-small.md").read_text()
    assert "model-index:" in card


@pytest.mark.slow
def test_one_changed_option_recomputes_only_what_depends_on_it(studied: tuple[Path, Any]) -> None:
    home, _ = studied
    without_the_wrong_row(home, "answers")
    before = finished(home, "out")
    text = (home / "study.yaml").read_text()
    (home / "study.yaml").write_text(text.replace("bits: 8", "bits: 5"))
    done = galenic(*arguments("-o", "out"), folder=home)
    assert "2 computed now" in done.stdout  # the quantized model and its answers
    after = finished(home, "out")
    assert {key: after[key] for key in before} == before


@pytest.mark.kills
def test_a_killed_study_leaves_nobody_at_work_and_goes_on(home: Path) -> None:
    without_the_wrong_row(home, "answers")
    process = subprocess.Popen([*GALENIC, *map(str, arguments("-o", "out"))], cwd=home)
    deadline = time.monotonic() + 120
    while len(finished(home, "out")) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    there = finished(home, "out")
    done = galenic(*arguments("-o", "out"), folder=home)
    assert done.returncode == 0, done.stderr
    after = finished(home, "out")
    assert {key: after[key] for key in there} == there


def records(home: Path, output: str) -> dict[str, bytes]:
    nodes = home / output / "nodes"
    return {str(p.relative_to(nodes)): p.read_bytes() for p in nodes.rglob("records.jsonl")}


@pytest.mark.kills
def test_ray_gives_the_same_and_survives_the_death_of_a_worker(home: Path) -> None:
    ray = pytest.importorskip("ray", reason="needs the ray extra")
    without_the_wrong_row(home, "answers")
    assert galenic(*arguments("-o", "local"), folder=home, fresh=True).returncode == 0
    line = [*GALENIC, *map(str, arguments("-o", "onray", "--engine", "ray", "--jobs", "2"))]
    environment = {**os.environ, "RAY_DISABLE_MEMORY_MONITOR": "1"}
    process = subprocess.Popen(line, cwd=home, env=environment)
    victim = wait_for_worker(process)
    victim.kill()
    assert process.wait(timeout=400) == 0
    assert records(home, "onray") == records(home, "local")  # both with GALENIC_THREADS=1
    assert ray.__version__


def wait_for_worker(process: subprocess.Popen[Any]) -> psutil.Process:
    """The Ray worker above the first node that is at work."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            try:
                parent = child.parent()
                if "galenic.study.node" in " ".join(child.cmdline()) and parent is not None:
                    assert "ray" in " ".join(parent.cmdline())
                    return parent
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.1)
    pytest.fail("no node was started by a Ray worker")
