"""Runs commands of galenic in processes that are killed: one line of JSON in, one status out.

Each command runs in a fork of this process, which has the heavy imports done. The fork kills itself
at the ``count``-th call of a function, or is killed after some seconds, as `kill -9` would:
nothing is caught, flushed or removed.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any


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


def _run(order: dict[str, Any]) -> None:
    from galenic.cli.main import main

    if "value" in order:
        setattr(*_find(order["place"]), order["value"])
    elif "place" in order:
        _die_at(order["place"], order["count"])
    if "file_size" in order:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_size"], order["file_size"]))
    sys.argv[1:] = order["args"]
    with Path(order["log"]).open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    main()


def _serve() -> None:
    for module in ("prune", "quantize"):
        import_module(f"galenic.compression.{module}.run")
    import_module("transformers.models.llama.modeling_llama")
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            try:
                _run(order)
                code = 0
            except SystemExit as stop:
                code = int(stop.code or 0)
            os._exit(code)
        if "seconds" in order:
            time.sleep(order["seconds"])
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
