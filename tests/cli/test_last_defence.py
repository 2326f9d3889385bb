"""What a user sees when a package is missing, a disk is full or read-only, a pipe closes."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commands import GALENIC, galenic
from galenic.cli.failure import end_with, explain, status_of
from galenic.cli.main import app, main
from galenic.errors import UserError
from galenic.limits import MESSAGE, WHOLE_MESSAGE, clamped
from galenic.models.configuration import refusals
from tiny import write_tiny_gguf
from tiny_hf import write_tiny_adapter, write_tiny_hf

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
    ["merge", "MODEL", "ADAPTER", "-o", "OUT"],
    ["study", "STUDY", "--model", "MODEL", "--data", "sample", "-o", "OUT"],
    ["export", "MODEL", "--to", "transformers", "-o", "OUT"],
    ["serve", "--model", "FOLDER", "--port", "18765"],
    ["index", "--embed", "minilm"],
    ["evaluate", "FOLDER", "--data", "sample", "-o", "OUT"],
    ["ask", "Does iron help?", "--style", "written", "--model", "FOLDER"],
)
DOES_NOT_NEED = (
    ["inspect", "MODEL"],
    ["inspect", "FOLDER"],
    ["doctor"],
    ["data"],
    ["triage", "chest pain"],
    ["evaluate", "MODEL", "--runtime", "llama", "--data", "sample", "--limit", "1", "-o", "OUT"],
    ["pack", "FOLDER", "-o", "PACKED"],
    ["index", "TEXT"],
    ["ask", "Does iron help?"],
    ["baseline", "--data", "sample"],
    ["scan", "--train", "TEXT", "--against", "sample"],
    ["export", "FOLDER", "--to", "llama.cpp", "-o", "OUT"],
    ["pull"],
)
ELSEWHERE = {
    "chat": "as ask",
    "search": "reads an index of test_index_command",
    "report": "reads runs; no model",
    "compare": "reads runs; no model",
    "status": "reads a study; no model",
    "unpack": "undoes pack",
    "purge": "deletes files",
}
STUDY = """\
name: small
description: d
evaluate: {benchmarks: [sample], scoring: [letter]}
measures: [answers]
rows:
- {name: dense}
- {name: pruned, stages: [{stage: prune, method: magnitude, sparsity: 0.3}]}
"""


@pytest.fixture(scope="module")
def blocked(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("blocker")
    (folder / "sitecustomize.py").write_text(BLOCKER)
    here = [str(folder), *(path for path in sys.path if path)]
    return os.pathsep.join(here)


def run(arguments: list[str], folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    model = write_tiny_gguf(folder / "model.gguf")
    (folder / "text.txt").write_text("The patient has a fever. " * 400, encoding="utf-8")
    (folder / "study.yaml").write_text(STUDY)
    write_tiny_hf(folder / "hf", "llama", hidden_size=32)
    write_tiny_adapter(folder / "adapter")
    named = {"TEXT": "text.txt", "OUT": "out", "STUDY": "study.yaml", "FOLDER": "hf"}
    named["PACKED"] = "x.galenic"
    named = {key: str(folder / name) for key, name in named.items()}
    named |= {"MODEL": str(model), "ADAPTER": str(folder / "adapter")}
    line = [named.get(word, word) for word in arguments]
    own = {"GALENIC_CACHE": str(folder / "cache"), "GALENIC_HOME": str(folder / "home")}
    return galenic(*line, PYTHONPATH=path, **own)


def test_every_command_is_tried_without_the_extra() -> None:
    tried = {words[0] for words in (*NEEDS, *DOES_NOT_NEED)}
    assert {one.name for one in app.registered_commands} == tried | set(ELSEWHERE)


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("arguments", DOES_NOT_NEED, ids=lambda words: words[0])
def test_a_command_that_needs_no_extra_works(
    arguments: list[str], tmp_path: Path, blocked: str
) -> None:
    done = run(arguments, tmp_path, blocked)
    assert done.returncode == 0, done.stderr


def full_index() -> sqlite3.Error:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


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
        (os_error(errno.EEXIST), 2, "/some/file"),
        (os_error(errno.ENOENT), 2, "/some/file"),
        (OSError(errno.ENOENT, "no", "/some/.x.1-ab.part"), 2, "/some: no file or folder can be"),
        (RuntimeError("Could not determine home directory."), 2, "the whole path"),
        (RuntimeError("Symlink loop from '/some/file'"), 2, "/some/file: too many"),
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


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        (None, 2),
        (os_error(errno.ENOENT), 2),
        (full_index(), 74),
        (sqlite3.OperationalError("another"), 2),
        (os_error(errno.ENOSPC), 74),
        (os_error(errno.EDQUOT), 74),
        (os_error(errno.EROFS), 73),
        (os_error(errno.EACCES), 73),
        (os_error(errno.EMFILE), 71),
        (MemoryError(), 71),
    ],
)
def test_a_clear_error_keeps_the_status_of_its_cause(cause: Exception | None, status: int) -> None:
    try:
        raise UserError("said clearly") from cause
    except UserError as error:
        assert status_of(error) == status


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no limits on the size of files")
def test_no_room_for_a_result_ends_with_its_status(tmp_path: Path) -> None:
    write_tiny_hf(tmp_path / "hf", "llama", hidden_size=32)
    line = ["pack", tmp_path / "hf", "-o", tmp_path / "x.galenic", "-q"]
    done = galenic(*line, changed={"file_size": 20_000})
    assert done.returncode == 74, done.stderr
    assert done.stderr.count("\n") == 1
    assert "Make room" in done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["hf"]


@pytest.mark.slow
def test_a_cache_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = galenic("doctor", GALENIC_CACHE=str(tmp_path / "file" / "inside"))
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error:") <= 1


def test_what_a_message_quotes_is_cut() -> None:
    said = clamped(f"there is no model 'a {'b ' * 9999}c' in {'/x' * 999}. Name another.")
    assert len(said) < 3 * MESSAGE + 400
    assert said.startswith("there is no model 'a b")
    assert said.endswith("/x. Name another.")
    assert len(clamped("word " * 9999)) <= WHOLE_MESSAGE + 1
    assert clamped("short 'and' clear") == "short 'and' clear"


@pytest.mark.slow
def test_an_error_does_not_print_the_input_again() -> None:
    done = galenic("evaluate", "m" * 5000, "--data", "sample")
    assert done.returncode == 2
    assert len(done.stderr) < 1000
    done = galenic("evaluate", "m", "--limit", "9" * 5000)
    assert done.returncode == 2
    assert len(done.stderr) < 1000


def test_a_panic_of_a_library_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class PanicException(BaseException):
        pass

    def panics(**_: Any) -> None:
        raise PanicException("index out of bounds")

    monkeypatch.setenv("GALENIC_CACHE", str(tmp_path))
    monkeypatch.setattr("galenic.cli.main.app", panics)
    monkeypatch.setattr("galenic.cli.main._command", lambda: "galenic")
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 70
    assert "index out of bounds" in capsys.readouterr().err
    with pytest.raises(ValueError, match="index out of bounds"), refusals(ValueError):
        raise PanicException("index out of bounds")


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


@pytest.mark.slow
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

def app(standalone_mode):
    with replacing(Path(sys.argv[1])) as part:
        part.write_text("half")
        print("ready", flush=True)
        time.sleep(60)

command.app = app
command.main()
"""


@pytest.mark.slow
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
