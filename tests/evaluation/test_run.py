"""Whole runs on a tiny real GGUF through llama.cpp: stop anywhere, go on, same bytes."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import Running, galenic
from galenic.errors import UserError
from galenic.evaluation.config import EvaluateConfig
from galenic.evaluation.folder import RunFolder
from galenic.evaluation.records import Record, Timing
from galenic.evaluation.run import EvaluationOutcome, default_folder, evaluate
from galenic.runtimes.llama import LlamaRuntime
from tiny import write_tiny_gguf

FILES = ("records.jsonl", "items.jsonl")


class Quiet:
    """Takes progress and keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        self.said.append(text)

    def advance(self, done: int, note: str = "") -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)

    def keep(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf", seed=1)


@pytest.fixture(scope="module")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluationOutcome:
    """A run of four benchmarks; tests that change it take a copy."""
    return run(settings(model), tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def there(finished: EvaluationOutcome, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return shutil.copytree(finished.folder, tmp_path / "run")


def settings(path: Path, /, **changes: Any) -> EvaluateConfig:
    options: dict[str, Any] = {
        "model": str(path),
        "benchmarks": "sample",
        "data": "sample",
        "limit": 6,
        "runtime": "llama",
        "threads": 1,
    }
    return EvaluateConfig(**(options | changes))


def run(config: EvaluateConfig, folder: Path, watcher: Quiet | None = None) -> EvaluationOutcome:
    return evaluate(config, folder, watcher or Quiet(), "galenic evaluate test")


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def records(folder: Path) -> list[Record]:
    lines = (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return [Record.model_validate_json(line) for line in lines]


@pytest.mark.slow
def test_every_question_and_scoring_has_one_record(finished: EvaluationOutcome) -> None:
    outcome = finished
    found = records(outcome.folder)
    assert len(found) == outcome.num_records == 4 * 6 * 3
    assert len({record.key for record in found}) == len(found)
    for record in found:
        assert sum(record.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert record.prediction == max(record.probabilities, key=record.probabilities.__getitem__)
    manifest = json.loads((outcome.folder / "run.json").read_text(encoding="utf-8"))
    assert manifest["model"]["runtime"] == "llama"
    assert [one["num_items"] for one in manifest["data"]] == [6] * 4
    assert not (outcome.folder / ".lock").exists()


@pytest.mark.slow
def test_cut_anywhere_and_continued_gives_the_same_bytes(model: Path, tmp_path: Path) -> None:
    config = settings(model, benchmarks="medmcqa,pubmedqa", debias="permutations", limit=3)
    whole = tmp_path / "whole"
    run(config, whole)
    expected = contents(whole)
    size = len(expected["records.jsonl"])
    rng = random.Random(5)
    for number, keep in enumerate([0, 1, size - 1, size, *rng.sample(range(size), 6)]):
        folder = tmp_path / f"cut{number}"
        shutil.copytree(whole, folder)
        with (folder / "records.jsonl").open("r+b") as file:
            file.truncate(keep)
        watcher = Quiet()
        outcome = run(config, folder, watcher)
        assert contents(folder) == expected, keep
        there = expected["records.jsonl"][:keep].count(b"\n")
        assert outcome.num_resumed == there
        timings = (folder / "timings.jsonl").read_text(encoding="utf-8").splitlines()
        chunks = [Timing.model_validate_json(line).chunk for line in timings]
        assert chunks == sorted(set(chunks)) == list(range(len(chunks)))


@pytest.mark.kills
def test_killed_again_and_again_loses_nothing(model: Path, tmp_path: Path) -> None:
    expected = tmp_path / "whole"
    config = settings(model, limit=None)
    run(config, expected)
    folder = tmp_path / "killed"
    arguments = ["evaluate", str(model), "--benchmarks", "sample", "--data", "sample"]
    arguments += ["--runtime", "llama", "--threads", "1", "-o", str(folder)]
    rng = random.Random(11)
    kills = 0
    for _ in range(40):
        process = Running(*arguments)
        before = _size(folder / "records.jsonl")
        deadline = time.monotonic() + 60
        while (  # let it write something, then kill it at some moment
            process.poll() is None
            and _size(folder / "records.jsonl") <= before
            and time.monotonic() < deadline
        ):
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.02))
        if process.poll() is not None:
            said = process.stop()
            assert process.returncode == 0, said
            break
        os.kill(process.pid, signal.SIGKILL)
        process.stop()
        kills += 1
    assert kills >= 3
    assert galenic(*arguments).returncode == 0
    assert contents(folder) == contents(expected)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.mark.slow
def test_a_finished_run_is_not_computed_again(model: Path, there: Path) -> None:
    before = (there / "timings.jsonl").read_bytes()
    outcome = run(settings(model), there)
    assert outcome.num_resumed == outcome.num_records
    assert (there / "timings.jsonl").read_bytes() == before


@pytest.mark.slow
def test_another_run_in_the_folder_is_refused(model: Path, there: Path) -> None:
    before = contents(there)
    with pytest.raises(UserError, match=r"config\.seed.*differ"):
        run(settings(model, seed=1), there)
    assert contents(there) == before


def test_other_libraries_do_not_go_on_with_a_run(tmp_path: Path) -> None:
    facts: dict[str, Any] = {
        "format": 1,
        "config": {"seed": 0, "data": "here", "threads": 1},
        "model": {"sha256": "a", "num_threads": 1},
        "data": [{"sha256": "b"}],
        "versions": {"galenic": "0.1.0", "numpy": "2.0"},
        "created": "then",
    }
    path = tmp_path / "run"
    with RunFolder(path) as folder:
        folder.begin(facts, [])
        folder.begin(facts | {"created": "now", "machine": {}}, [])
        versions = facts["versions"]
        # the version before asked the same: its unfinished runs go on
        folder.begin(facts | {"versions": versions | {"galenic": "0.2.0"}}, [])
        free = {"config": facts["config"] | {"data": "there", "threads": 2}}
        free["model"] = facts["model"] | {"num_threads": 2}
        folder.begin(facts | free, [])
        for part, change, message in (
            ("versions", versions | {"numpy": "2.1"}, r"versions\.numpy differ"),
            ("versions", versions | {"torch": "2.9"}, r"versions\.torch differ"),
            ("config", facts["config"] | {"seed": 1}, r"config\.seed differ"),
            ("model", {"sha256": "c"}, r"model\.sha256 differ"),
            ("data", [{"sha256": "c"}], "data differ"),
            ("format", 2, "format differ"),
        ):
            with pytest.raises(UserError, match=message):
                folder.begin(facts | {part: change}, [])
        there = json.loads((path / "run.json").read_text())
        there["versions"]["galenic"] = "0.0.9"
        (path / "run.json").write_text(json.dumps(there))
        with pytest.raises(UserError, match=r"versions\.galenic differ"):
            folder.begin(facts, [])


def test_a_folder_with_other_things_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="holds no run"):
        run(settings(model), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_a_killed_process_left_is_no_other_thing(tmp_path: Path) -> None:
    (tmp_path / ".run.json.123-0a1b2c3d.part").write_text("{")
    (tmp_path / ".lock").touch()
    RunFolder(tmp_path).close()
    (tmp_path / ".run.json.part").touch()  # a name that we do not give
    with pytest.raises(UserError, match="holds no run"):
        RunFolder(tmp_path)


def test_the_lock_is_not_taken_from_the_next_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Released first, its file could be that of a process that has locked it meanwhile."""
    folder = RunFolder(tmp_path)
    seen = []
    release = folder._lock.release
    monkeypatch.setattr(
        folder._lock, "release", lambda: (seen.append((tmp_path / ".lock").exists()), release())
    )
    folder.close()
    assert seen == [False]


def test_a_second_process_in_the_folder_is_refused(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run"):
        code = "from galenic.evaluation.folder import RunFolder; import pathlib, sys\n"
        code += "RunFolder(pathlib.Path(sys.argv[1]))"
        second = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "run")],
            capture_output=True,
            text=True,
            check=False,
        )
    assert "another galenic process" in second.stderr


@pytest.mark.slow
def test_records_that_are_not_this_plans_are_refused(model: Path, there: Path) -> None:
    config = settings(model)
    path = there / "records.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(reversed(lines)), encoding="utf-8")
    with pytest.raises(UserError, match="other questions"):
        run(config, there)
    path.write_text("{}\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 1 is not a record"):
        run(config, there)


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", [b"\xff\xfe", b'{"benchmark": "\xff"}', b'{"id": "\\ud800"}', b"[" * 9999, b"NaN"]
)
@pytest.mark.parametrize("name", ["records.jsonl", "timings.jsonl"])
def test_damaged_lines_of_a_run_are_refused(tmp_path: Path, name: str, line: bytes) -> None:
    with RunFolder(tmp_path) as folder:
        (tmp_path / name).write_bytes(line + b"\n")
        with pytest.raises(UserError, match=re.escape(str(tmp_path / name))):
            folder.recorded([("b", "1", "letter")])
            folder.keep_timings(1)


def test_fewshot_and_chat_template_change_the_answers(model: Path, tmp_path: Path) -> None:
    changes: tuple[dict[str, Any], ...] = ({}, {"num_fewshot": 2}, {"chat_template": True})
    values = []
    for number, change in enumerate(changes):
        config = settings(model, benchmarks="medmcqa", scoring="letter", **change)
        found = records(run(config, tmp_path / f"{number}").folder)
        assert len(found) == 6
        values.append([record.loglikelihoods for record in found])
    assert values[0] != values[1] != values[2] != values[0]


@pytest.mark.slow
def test_generated_answers_are_recorded(model: Path, tmp_path: Path) -> None:
    config = settings(model, scoring="generate", limit=2, max_tokens=8)
    found = records(run(config, tmp_path / "run").folder)
    assert len(found) == 8
    assert all(record.text is not None and not record.probabilities for record in found)


def test_your_own_exam(model: Path, tmp_path: Path) -> None:
    exam = tmp_path / "my_exam.jsonl"
    row = {"question": "Which is a vitamin?", "options": ["Iron", "Retinol"], "answer": "B"}
    exam.write_text(json.dumps(row) + "\n", encoding="utf-8")
    config = settings(model, benchmarks=str(exam), limit=None)
    found = records(run(config, tmp_path / "run").folder)
    assert [record.gold for record in found] == ["B"] * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmarks": "pubmdqa"}, "pubmedqa"),
        ({"data": "/nowhere/at/all"}, "no such folder"),
        ({"model": "/nowhere/model.gguf"}, "model.gguf"),
        ({"split": "tset"}, "test"),
    ],
)
def test_mistakes_are_named_and_leave_nothing(
    model: Path, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(settings(model, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_default_folder_is_the_same_for_the_same_settings(model: Path) -> None:
    first, again = default_folder(settings(model)), default_folder(settings(model))
    assert first == again != default_folder(settings(model, seed=4))
    assert first.parent == Path("runs")


def test_predictions_that_are_no_numbers_are_never_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(model, benchmarks="medmcqa", scoring="letter")
    run(config, tmp_path / "whole")
    keep, calls = LlamaRuntime.score, []

    def breaks(self: Any, pack: Any) -> Any:
        calls.append(pack)
        return keep(self, pack) * (1.0 if len(calls) < 2 else np.nan)

    with monkeypatch.context() as patch:
        patch.setattr(LlamaRuntime, "pack_tokens", 64)  # several chunks
        patch.setattr(LlamaRuntime, "score", breaks)
        with pytest.raises(UserError, match="predicts values that are not finite for question"):
            run(config, tmp_path / "run")
    there = (tmp_path / "run" / "records.jsonl").read_bytes()
    assert contents(tmp_path / "whole")["records.jsonl"].startswith(there)
    assert there
    run(config, tmp_path / "run")  # goes on
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")
