"""Runs commands of galenic, each in a fork of this process, whose imports are done.

One line of JSON in: ``args``, ``env``, ``folder``, and ``out`` and ``err``, the files for what is
printed. One line out: the exit status, below 0 the signal. A fork differs from a new process in
nothing but the second or more that the imports take.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import sys
import threading
from importlib import import_module
from typing import Any

PRELOADED = (
    "galenic.cli.main",
    "galenic.evaluation.run",
    "galenic.assistant.pipeline",
    "galenic.compression.prune.run",
    "galenic.compression.quantize.run",
    "transformers.models.llama.modeling_llama",
)
"""Imports that start no threads and read no environment; where torch is missing, some fail."""


def _redirect(order: dict[str, Any]) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - without what the server has read


def _run(order: dict[str, Any]) -> int:
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["folder"])
    _redirect(order)
    sys.argv[:] = ["-c", *order["args"]]
    main = import_module("galenic.cli.main").main
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


def _serve() -> None:
    for module in PRELOADED:
        with contextlib.suppress(ImportError):
            import_module(module)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            code = 1
            try:
                code = _run(json.loads(line))
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
