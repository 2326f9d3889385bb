"""The command line in a process of its own."""

from __future__ import annotations

import functools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

__all__ = ["GALENIC", "Running", "at_terminal", "galenic"]

GALENIC = [sys.executable, "-c", "from galenic.cli.main import main; main()"]
CHILD = Path(__file__).with_name("command_child.py")
ONE_AT_A_TIME = threading.Lock()


def galenic(
    *arguments: object,
    folder: Path | None = None,
    fresh: bool = False,
    typed: str = "",
    changed: Mapping[str, object] | None = None,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in a wide terminal unless ``COLUMNS`` says otherwise.

    Args:
        arguments: words of the command.
        folder: where it runs; here if None.
        fresh: start an interpreter of its own, where importing is a part of what is tested.
        typed: what it reads from its standard input, which is no terminal.
        changed: what is changed in it, or when it is killed (see `command_child`); needs `fork`.
        environment: variables in addition to this process's.
    """
    line = [*map(str, arguments)]
    env = {**os.environ, "COLUMNS": "200", **environment}
    if fresh or not hasattr(os, "fork"):
        return subprocess.run(
            [*GALENIC, *line],
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env=env,
        )
    with tempfile.TemporaryDirectory() as printed:
        given, out, err = (Path(printed, name) for name in ("in", "out", "err"))
        given.write_text(typed, encoding="utf-8")
        files = {"in": given, "out": out, "err": err}
        status = int(_order(line, env, files, folder, changed=dict(changed or {})))
        return subprocess.CompletedProcess(line, status, out.read_text(), err.read_text())


class Running:
    """A command that goes on beside the tests; what it prints is kept together."""

    def __init__(self, *arguments: object, **environment: str) -> None:
        line, env = [*map(str, arguments)], {**os.environ, **environment}
        self._folder = tempfile.TemporaryDirectory()
        self._out = Path(self._folder.name, "out")
        self._path = env.get("PYTHONPATH", "")
        self.returncode: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        if hasattr(os, "fork"):
            files = {"in": Path(os.devnull), "out": self._out, "err": self._out}
            self.pid = int(_order(line, env, files, beside=True))
            return
        with self._out.open("wb") as out:
            self._process = subprocess.Popen([*GALENIC, *line], env=env, stdout=out, stderr=out)
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        if self._process:
            self.returncode = self._process.poll()
        elif self.returncode is None and (said := _ask(self._path, {"poll": self.pid})):
            self.returncode = int(said)
        return self.returncode

    def stop(self, seconds: float = 20) -> str:
        """End it, by force where it does not end in so many seconds; all that it printed."""
        for how in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
            if self.poll() is None:
                os.kill(self.pid, how)
            deadline = time.monotonic() + seconds
            while self.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
        said = self._out.read_bytes().decode(errors="replace")
        self._folder.cleanup()
        return said


def at_terminal(typed: str, *arguments: object) -> tuple[int, str]:
    """Status and screen of a command at a terminal where somebody types."""
    import pty

    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "dumb", "COLUMNS": "200", "NO_COLOR": "1"}
    files = dict.fromkeys(("in", "out", "err"), Path(os.ttyname(theirs)))
    number = int(_order([*map(str, arguments)], env, files, beside=True))
    os.write(ours, typed.encode())
    screen, status = b"", ""
    while not status:
        status = _ask(env.get("PYTHONPATH", ""), {"poll": number})
        while select.select([ours], [], [], 0.02)[0]:
            screen += os.read(ours, 4096)
    os.close(theirs)
    os.close(ours)
    return int(status), screen.decode().replace("\r\n", "\n")


def _order(
    line: list[str],
    env: dict[str, str],
    files: Mapping[str, Path],
    folder: Path | None = None,
    **more: object,
) -> str:
    where = {name: str(path) for name, path in files.items()}
    order = {"args": line, "env": env, "folder": str(folder or Path.cwd()), "changed": {}}
    return _ask(env.get("PYTHONPATH", ""), {**order, **where, **more})


def _ask(path: str, order: dict[str, object]) -> str:
    server = _server(path)
    assert server.stdin and server.stdout
    with ONE_AT_A_TIME:
        print(json.dumps(order), file=server.stdin, flush=True)
        return server.stdout.readline().strip()


@functools.cache
def _server(path: str) -> subprocess.Popen[str]:
    """A process that forks for each command; one for each module path."""
    return subprocess.Popen(
        [sys.executable, str(CHILD)],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
