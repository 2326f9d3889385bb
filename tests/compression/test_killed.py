"""Compressions that are killed, or whose disk is full: nothing half-made, and again from there."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import galenic
from tiny_hf import write_tiny_hf

pytest.importorskip("torch", reason="needs the train extra")
if not hasattr(os, "fork"):
    pytest.skip("needs fork and SIGKILL", allow_module_level=True)

FULL = os.EX_IOERR
COMMANDS = {
    "prune": ["prune", "--method", "magnitude", "--sparsity", "0.5"],
    "quantize": ["quantize", "--type", "Q8_0", "--no-importance"],
    "tune": [
        *("quantize", "--type", "Q4_0", "--no-importance", "--tune", "--tune-steps", "3"),
        *("--text", "text.txt", "--num-samples", "8", "--seq-len", "24"),
    ],
    "compress": ["compress", "--recipe", "two.yaml", "--no-measure"],
}
MOMENTS = {
    "prune": [
        ("galenic.models.save:FolderWriter.write", 1),
        ("galenic.models.save:FolderWriter.write", 9),
        ("galenic.models.save:check_saved", 1),
        ("galenic.compression.prune.run:record_stage", 1),
        ("galenic.cache:_flush", 2),
        ("galenic.cache:_remove", 1),  # the folder has its name; only the lock is left
    ],
    "quantize": [
        ("galenic.compression.quantize.kquant:quantize_rows", 3),
        ("galenic.compression.quantize.verify:measure_agreement", 1),
        ("galenic.cache:_flush", 2),
    ],
    "tune": [
        ("galenic.compression.quantize.tuning.run:tune_codes_", 3),
        ("galenic.compression.quantize.tuning.scales:_step_", 2),
        ("galenic.compression.quantize.tuning.heldout:Judge.judge", 1),
    ],
    "compress": [
        ("galenic.models.save:FolderWriter.write", 5),  # in the first stage
        ("galenic.compression.quantize.kquant:quantize_rows", 3),  # in the second
        ("galenic.recipes.run:model_card", 1),  # behind them
    ],
}
RECIPE = """
name: two
description: Two stages.
stages:
  - {stage: prune, method: magnitude, sparsity: 0.5}
  - {stage: quantize, method: kquant, type: Q8_0, importance: false}
"""


class Runner:
    """A folder with a model ``m`` and a recipe, and what a command in it printed last."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.target = folder, folder / "out"
        write_tiny_hf(folder / "m", "llama", hidden_size=64)
        (folder / "two.yaml").write_text(RECIPE)
        words = (f"the man of the ward said yes or no on day {i} of {i * i}" for i in range(90))
        (folder / "text.txt").write_text("\n\n".join(words))
        self.whole: dict[str, dict[str, bytes]] = {}
        self.log = ""

    def run(self, command: str, output: Path | None = None, **order: Any) -> int:
        """Status of the command; below 0 the signal that ended it."""
        name, *rest = COMMANDS[command]
        args = [name, "m", *rest, "-o", str(output or self.target)]
        own = {"GALENIC_CACHE": str(self.folder / "cache"), "GALENIC_THREADS": "1"}
        done = galenic(*args, folder=self.folder, changed=order, **own)
        self.log = done.stdout + done.stderr
        return done.returncode

    def undisturbed(self, command: str) -> dict[str, bytes]:
        """What the command makes. All outputs have one name, for a GGUF's metadata holds it."""
        if command not in self.whole:
            assert self.run(command) == 0, self.log
            self.whole[command] = content(self.target)
            shutil.rmtree(self.target)
        return self.whole[command]

    def check_after_kill(self, command: str) -> None:
        """There is nothing or the whole, and the same command makes the whole of it."""
        from galenic.artifact.manifest import read_manifest

        if not self.target.exists():
            assert self.run(command) == 0, self.log
        assert content(self.target) == self.undisturbed(command)
        assert read_manifest(self.target) is not None
        shutil.rmtree(self.target)
        assert leftovers(self.folder) == []


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.endswith((".part", ".parts"))]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(tmp_path_factory.mktemp("killed"))


@pytest.mark.kills
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_every_step(runner: Runner, command: str) -> None:
    runner.undisturbed(command)
    for place, count in MOMENTS[command]:
        code = runner.run(command, place=place, count=count)
        assert code == -signal.SIGKILL, (place, runner.log)
        assert runner.target.exists() == place.endswith("_remove")  # it had its name already
        runner.check_after_kill(command)


@pytest.mark.kills
def test_killed_at_any_time(runner: Runner) -> None:
    runner.undisturbed("prune")
    began = time.monotonic()
    assert runner.run("prune") == 0, runner.log
    taken = time.monotonic() - began
    shutil.rmtree(runner.target)
    chosen = random.Random(0)
    for _ in range(6):
        assert runner.run("prune", seconds=chosen.uniform(0, taken)) in (0, -signal.SIGKILL)
        runner.check_after_kill("prune")


def no_room(runner: Runner, output: Path) -> None:
    told = " ".join(runner.log.split())
    assert re.search(r"not written: the disk is full|takes .* GB are free", told), told
    assert not output.exists()
    assert leftovers(output.parent) == []


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_limit_on_the_size_of_files(runner: Runner, command: str) -> None:
    runner.undisturbed(command)  # its cache is warm now
    assert runner.run(command, file_size=60_000) == FULL, runner.log
    no_room(runner, runner.target)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)]
    mounted = (
        shutil.which("mount")
        and not subprocess.run(mount, check=False, capture_output=True).returncode
    )
    if not mounted:
        pytest.skip("no file system can be mounted here (needs root)")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk(runner: Runner, small_disk: Path, command: str) -> None:
    runner.undisturbed(command)
    output = small_disk / "out"
    assert runner.run(command, output) == FULL, runner.log
    assert "Make room" in " ".join(runner.log.split())  # known from the shapes alone
    # whatever the estimate says, the disk may fill up meanwhile
    code = runner.run(command, output, place="galenic.artifact.manifest:ROOM", value=1e-9)
    assert code == FULL, runner.log
    no_room(runner, output)
    assert list(small_disk.iterdir()) == []
