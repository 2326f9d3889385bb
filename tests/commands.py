"""The command line in a process of its own."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["GALENIC", "galenic"]

GALENIC = [sys.executable, "-c", "from galenic.cli.main import main; main()"]
CHILD = Path(__file__).with_name("command_child.py")


def galenic(
    *arguments: object, folder: Path | None = None, fresh: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in a wide terminal unless ``COLUMNS`` says otherwise.

    ``fresh`` starts an interpreter of its own, where importing is a part of what is tested.
    """
    line = [*map(str, arguments)]
    env = {**os.environ, "COLUMNS": "200", **environment}
    if fresh or not hasattr(os, "fork"):
        return subprocess.run(
            [*GALENIC, *line], capture_output=True, text=True, check=False, cwd=folder, env=env
        )
    server = _server(env.get("PYTHONPATH", ""))
    assert server.stdin and server.stdout
    with tempfile.TemporaryDirectory() as printed:
        out, err = Path(printed, "out"), Path(printed, "err")
        order = {"args": line, "env": env, "folder": str(folder or Path.cwd())}
        print(
            json.dumps({**order, "out": str(out), "err": str(err)}), file=server.stdin, flush=True
        )
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(line, status, out.read_text(), err.read_text())


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
