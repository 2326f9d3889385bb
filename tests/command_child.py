"""Runs commands of galenic, each in a fork of this process, whose imports are done.

One line of JSON in: ``args``, ``env``, ``folder``; ``in``, ``out`` and ``err``, files or terminals;
``beside``, if it goes on by itself; and ``changed``, which may hold

- ``place``, a function ``module:Class.name``, of which the ``count``-th call kills the command as
  `kill -9` would: nothing is caught, flushed or removed;
- ``place`` and the ``value`` that it gets instead;
- ``seconds``, after which the command is killed;
- ``file_size``, the bytes that a file may have;
- ``processes``, how many run it together, as `torchrun` would start them.

One line out: the exit status, below 0 the signal; or the number of the process that goes on, of
which ``poll`` asks for the status: an empty line while it runs. A fork differs from a new process
in nothing but the seconds that the imports take. What a command starts as ``python -m galenic...``
runs in a fork, too: a model's first load, and the nodes of a study.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import resource
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any

PRELOADED = (
    "galenic.cli.main",
    "galenic.assistant.pipeline",
    "galenic.compression.prune.run",
    "galenic.compression.quantize.run",
    "galenic.evaluation.run",
    "galenic.recipes.run",
    "galenic.reports.document",
    "galenic.reports.plots",
    "galenic.reports.study_html",
    "galenic.reports.write",
    "galenic.runtimes.llama",
    "galenic.serve.app",
    "galenic.serve.listen",
    "galenic.study.run",
    "galenic.training.finetune.run",
    "matplotlib.font_manager",
    "scipy.stats",
    "transformers.models.llama.modeling_llama",
)
"""Imports that start no threads and read no environment; where torch is missing, some fail."""
LORA = "galenic.training.finetune.lora"


def _find(place: str) -> tuple[Any, str]:
    module, _, name = place.partition(":")
    owner: Any = import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    return owner, last


def _die_at(place: str, count: int) -> None:
    owner, last = _find(place)
    original, calls = getattr(owner, last), 0

    def counted(*args: Any, **others: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **others)

    setattr(owner, last, counted)


class _Forked:
    """What `subprocess.Popen` is for ``python -m MODULE ARGUMENTS``, in a fork."""

    def __init__(
        self, command: list[str], *, stdout: Any, stderr: Any, env: dict[str, str], **_: Any
    ) -> None:
        module, arguments = command[2], command[3:]

        def main() -> None:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            warnings.filterwarnings("ignore", message=".*found in sys.modules")
            runpy.run_module(module, run_name="__main__")

        printed = stdout.fileno(), (stdout if stderr == subprocess.STDOUT else stderr).fileno()
        self.returncode: int | None = None
        self.pid = _fork(lambda: _run(main, arguments, env, printed))

    def poll(self) -> int | None:
        if self.returncode is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if done else None
        return self.returncode

    def wait(self, timeout: float = float("inf")) -> int:
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("fork", timeout)
            time.sleep(0.01)
        return code

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def _change(how: dict[str, Any]) -> None:
    if "value" in how:
        setattr(*_find(how["place"]), how["value"])
    elif "place" in how:
        _die_at(how["place"], how["count"])
    if "file_size" in how:
        resource.setrlimit(resource.RLIMIT_FSIZE, (how["file_size"], how["file_size"]))


def _run_forked(
    command: list[str], *, env: dict[str, str], timeout: float, **_: Any
) -> subprocess.CompletedProcess[bytes]:
    """What `subprocess.run` is for ``python -m MODULE ARGUMENTS``, in a fork."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = _Forked(command, stdout=out, stderr=err, env=env)
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, code, out.read(), err.read())


def _fork(work: Callable[[], int]) -> int:
    """The number of a fork that does the work and ends with its status."""
    child = os.fork()
    if not child:
        code = 1
        try:
            code = work()
        except BaseException:  # noqa: BLE001 - as the interpreter does
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def _run(
    main: Callable[[], None], words: list[str], env: dict[str, str], printed: tuple[int, int]
) -> int:
    """Run a program to its end, as a new process would; its exit status."""
    os.environ.clear()
    os.environ.update(env)
    os.dup2(printed[0], 1)
    os.dup2(printed[1], 2)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - without what the server has read
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    sys.argv[:] = ["-c", *words]
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        threading._shutdown()  # type: ignore[attr-defined] # what the interpreter does at its end
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def _command(order: dict[str, Any]) -> int:
    os.chdir(order["folder"])

    def main() -> None:
        _change(order["changed"])
        import_module("galenic.cli.main").main()

    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    os.dup2(os.open(order["in"], os.O_RDONLY), 0)
    printed = os.open(order["out"], flags), os.open(order["err"], flags)
    if "processes" not in order["changed"]:
        return _run(main, order["args"], order["env"], printed)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(one.getsockname()[1])}
    count = order["changed"]["processes"]
    sizes = dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(count))
    children = []
    for rank in range(count):
        own = dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank))
        env = order["env"] | where | sizes | own
        children.append(_fork(partial(_run, main, order["args"], env, printed)))
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


def _serve() -> None:
    for module in PRELOADED:
        with contextlib.suppress(ImportError):
            import_module(module)
    with contextlib.suppress(ImportError), import_module(LORA).quiet_peft():
        import_module("peft")
    import_module("galenic.assistant.triage.triage").triage("")  # its rules are read once
    forks = SimpleNamespace(**{**vars(subprocess), "Popen": _Forked, "run": _run_forked})
    for module in ("galenic.study.engines.local", "galenic.runtimes.llama_trial"):
        import_module(module).subprocess = forks  # type: ignore[attr-defined]
    for line in sys.stdin:
        sys.stdout.write(f"{_answer(json.loads(line))}\n")
        sys.stdout.flush()


def _answer(order: dict[str, Any]) -> object:
    if "poll" in order:
        done, status = os.waitpid(order["poll"], os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if done else ""
    child = _fork(partial(_command, order))
    if order.get("beside"):
        return child
    if "seconds" in order["changed"]:
        time.sleep(order["changed"]["seconds"])
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    _serve()
