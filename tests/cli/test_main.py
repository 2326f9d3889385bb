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

COMMANDS = ("evaluate", "report", "compare", "baseline", "prune", "inspect", "data", "doctor")


def test_help_lists_every_command() -> None:
    done = galenic("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_examples(command: str) -> None:
    done = galenic(command, "--help")
    assert done.returncode == 0
    assert "Examples" in done.stdout
    assert f"galenic {command}" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "smolm2-135m", "--data", "sample"], "smollm2-135m"),
        (["evaluate", "x.gguf", "--data", "sample"], "x.gguf"),
        (["evaluate", "smollm2-135m", "--benchmarks", "medqua", "--data", "sample"], "medqa"),
        (["evaluate", "smollm2-135m", "--scoring", "leter", "--data", "sample"], "letter"),
        (["evaluate", "smollm2-135m", "--scoring", "", "--data", "sample"], "--scoring"),
        (["evaluate", "smollm2-135m", "--limit", "0"], "--limit"),
        (["evaluate", "smollm2-135m", "--runtime", "tensorflow"], "llama"),
        (["evaluate", "smollm2-135m", "--data", "/not/there"], "/not/there"),
        (["report", "/not/there"], "/not/there"),
        (["evalute"], "evaluate"),
    ],
)
def test_a_mistake_gives_one_clear_error(arguments: list[str], message: str) -> None:
    done = galenic(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["text", "cut", "empty"])
def test_a_file_that_is_no_model(tmp_path: Path, damage: str) -> None:
    path = write_tiny_gguf(tmp_path / "model.gguf")
    whole = path.read_bytes()
    path.write_bytes(
        {"text": b"hello " * 99, "cut": whole[: len(whole) // 2], "empty": b""}[damage]
    )
    done = galenic("evaluate", str(path), "--data", "sample", "-o", str(tmp_path / "run"))
    assert done.returncode == 2
    assert "model.gguf" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_folder_without_config(tmp_path: Path) -> None:
    done = galenic("evaluate", str(tmp_path), "--data", "sample", "-o", str(tmp_path / "run"))
    assert done.returncode == 2
    assert "config.json" in done.stderr


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    model = write_tiny_gguf(tmp_path / "model.gguf")
    arguments = ["evaluate", str(model), "--data", "sample", "--benchmarks", "sample"]
    arguments += ["--runtime", "llama", "--threads", "1", "--debias", "permutations"]
    arguments += ["--limit", "12", "-o", str(tmp_path / "run")]
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
    assert len(records.read_text(encoding="utf-8").splitlines()) == 4 * 12 * 3


def test_version() -> None:
    from galenic import __version__

    assert galenic("--version").stdout.strip() == f"galenic {__version__}"


@pytest.mark.slow
def test_completion_can_be_shown() -> None:
    command = f"{shlex.join(GALENIC)} --show-completion; true"  # bash stays, to be found
    shown = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "complete_bash" in shown.stdout
    done = galenic(__C_COMPLETE="complete_bash", COMP_WORDS="galenic eva", COMP_CWORD="1")
    assert done.stdout.split() == ["evaluate"]
