"""What a user sees when a package is missing, a disk is full or read-only, a pipe closes."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from commands import GALENIC, galenic
from galenic.cli.failure import end_with, explain
from galenic.limits import MESSAGE
from tiny import write_tiny_gguf

BLOCKER = """
import sys
from importlib.machinery import PathFinder

MISSING = {"torch", "transformers", "peft", "accelerate", "safetensors"}

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            return None
        return super().find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""
NEEDS = (
    ["evaluate", "MODEL", "--runtime", "torch", "--data", "sample", "-o", "OUT"],
    ["perplexity", "MODEL", "--runtime", "torch", "--text", "TEXT", "-o", "OUT"],
    ["finetune", "MODEL", "--train", "medquad", "-o", "OUT"],
    ["distill", "MODEL", "--teacher", "MODEL", "--train", "medquad", "-o", "OUT"],
    ["encoder", "MODEL", "--train", "medquad", "-o", "OUT"],
    ["prune", "MODEL", "--method", "magnitude", "-o", "OUT"],
    ["quantize", "MODEL", "--text", "TEXT", "-o", "OUT"],
    ["compress", "MODEL", "--recipe", "collapse", "-o", "OUT"],
    ["plan", "MODEL"],
)
DOES_NOT_NEED = (
    ["inspect", "MODEL"],
    ["doctor"],
    ["data"],
    ["triage", "chest pain"],
    ["evaluate", "MODEL", "--runtime", "llama", "--data", "sample", "--limit", "1", "-o", "OUT"],
)


@pytest.fixture
def blocked(tmp_path: Path) -> str:
    folder = tmp_path / "blocker"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BLOCKER)
    here = [str(folder), *(path for path in sys.path if path)]
    return os.pathsep.join(here)


def run(arguments: list[str], folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    model = write_tiny_gguf(folder / "model.gguf")
    (folder / "text.txt").write_text("The patient has a fever. " * 400, encoding="utf-8")
    named = {"TEXT": str(folder / "text.txt"), "MODEL": str(model), "OUT": str(folder / "out")}
    line = [named.get(word, word) for word in arguments]
    return galenic(*line, PYTHONPATH=path, GALENIC_CACHE=str(folder / "cache"))


@pytest.mark.parametrize("arguments", NEEDS, ids=lambda words: words[0])
def test_a_command_without_its_extra_names_it(
    arguments: list[str], tmp_path: Path, blocked: str
) -> None:
    done = run(arguments, tmp_path, blocked)
    assert done.returncode == 2, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(said) == 1
    assert "pip install 'galenic[train" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", DOES_NOT_NEED, ids=lambda words: words[0])
def test_a_command_that_needs_no_extra_works(
    arguments: list[str], tmp_path: Path, blocked: str
) -> None:
    done = run(arguments, tmp_path, blocked)
    assert done.returncode == 0, done.stderr


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number), "/some/file")


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (os_error(errno.ENOSPC), 74, "Make room"),
        (os_error(errno.EROFS), 73, "/some/file"),
        (os_error(errno.EACCES), 73, "/some/file"),
        (os_error(errno.EMFILE), 71, "ulimit -n"),
        (os_error(errno.EIO), 74, "/some/file"),
        (MemoryError(), 71, "memory"),
        (RecursionError(), 65, "nested"),
        (ValueError("x" * 10_000 + "\nsecond"), 70, "ValueError"),
        (ModuleNotFoundError("No module named 'flwr'", name="flwr"), 2, "galenic[train,federated]"),
    ],
)
def test_what_an_exception_means(error: Exception, status: int, word: str) -> None:
    failure = explain(error)
    assert failure.status == status
    said = f"{failure.what}. {failure.do}"
    assert word in said
    assert "\n" not in said
    assert len(failure.what) < MESSAGE + 40


def test_the_traceback_goes_to_a_private_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GALENIC_CACHE", str(tmp_path))
    try:
        raise ValueError("odd \ud800 text")
    except ValueError as error:
        assert end_with(error, "galenic prune") == 70
    said = capsys.readouterr().err
    (log,) = (tmp_path / "errors").iterdir()
    assert said.count("\n") == 1
    assert str(log) in said
    assert "galenic prune" in said
    assert "Traceback" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_closed_pipe_is_quiet() -> None:
    line = [*GALENIC, "data"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode in (0, 1)


HALF = """
import sys, time
from pathlib import Path
from galenic.cache import replacing
from galenic.cli import main as command

def app():
    with replacing(Path(sys.argv[1])) as part:
        part.write_text("half")
        print("ready", flush=True)
        time.sleep(60)

command.app = app
command.main()
"""


def test_sigterm_cleans_up_as_ctrl_c_does(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HALF, str(tmp_path / "x")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.terminate()
        assert child.wait(60) == 143
    assert list(tmp_path.iterdir()) == []


def test_no_native_code_is_fetched() -> None:
    assert os.environ["USE_HUB_KERNELS"] == "NO"
