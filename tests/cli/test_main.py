"""The command line as a user meets it: help, mistakes, exit status, stopping."""

from __future__ import annotations

import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from commands import GALENIC, galenic
from tiny import write_tiny_gguf

pytestmark = pytest.mark.slow
COMMANDS = ("evaluate", "report", "compare", "baseline", "prune", "inspect", "data", "doctor")


def test_help_lists_every_command() -> None:
    done = galenic("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


def test_a_mistake_ends_with_status_2_and_one_line_on_stderr() -> None:
    done = galenic("evalute")  # many others: test_mistakes.py
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "evaluate" in done.stderr


def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    model = write_tiny_gguf(tmp_path / "model.gguf")
    arguments = ["evaluate", str(model), "--data", "sample", "--benchmarks", "sample"]
    arguments += ["--runtime", "llama", "--threads", "1", "--debias", "permutations"]
    arguments += ["--limit", "3", "-o", str(tmp_path / "run")]
    heard = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {GALENIC[2]}"
    process = subprocess.Popen(  # a job in the background of a shell ignores Ctrl-C from birth
        [*GALENIC[:2], heard, *arguments], stderr=subprocess.PIPE, text=True
    )
    records = tmp_path / "run" / "records.jsonl"
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if records.exists() and records.stat().st_size:
            break
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Nothing is lost" in said
    assert "Traceback" not in said
    again = galenic(*arguments)
    assert again.returncode == 0
    assert "resuming" in again.stderr
    assert len(records.read_text(encoding="utf-8").splitlines()) == 4 * 3 * 3


def test_version() -> None:
    from galenic import __version__

    assert galenic("--version").stdout.strip() == f"galenic {__version__}"


def test_completion_can_be_shown() -> None:
    command = f"{shlex.join(GALENIC)} --show-completion; true"  # bash stays, to be found
    shown = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "complete_bash" in shown.stdout
    done = galenic(__C_COMPLETE="complete_bash", COMP_WORDS="galenic eva", COMP_CWORD="1")
    assert done.stdout.split() == ["evaluate"]
