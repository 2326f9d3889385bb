"""Process that executes one node of a study: ``python -m galenic.study.node FOLDER PARENT``.

It ends when its parent does, so that a killed study leaves no processes behind.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.study.store import NodeFailure, NodeFolder

__all__ = ["command_of", "execute", "main"]

LOOK_EVERY = 1.0
"""Seconds between checks whether the parent is alive, and between progress updates."""
WAIT = 30.0
"""Seconds to wait for an orphaned process that still works on the same node."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class FileWatcher:
    """A watcher that writes progress to the node's folder and messages to its log."""

    def __init__(self, folder: NodeFolder) -> None:
        self.folder = folder
        self.facts: dict[str, Any] = {}
        self.began = self.told = 0.0

    def stage(self, text: str, total: int | None = None, done: int = 0) -> None:
        """Begin a stage; see `galenic.watcher.Watcher`."""
        _note(text)
        self.began = time.monotonic()
        self.facts = {"stage": text, "total": total, "done": done, "begun_at": done, "seconds": 0.0}
        self._tell()

    def advance(self, done: int, note: str = "") -> None:
        """Record how much of the stage is done, at most once per `LOOK_EVERY`."""
        self.facts |= {"done": done, "note": note, "seconds": time.monotonic() - self.began}
        if time.monotonic() - self.told >= LOOK_EVERY:
            self._tell()

    def say(self, text: str) -> None:
        """Write a line to the log."""
        _note(text)

    def keep(self, text: str) -> None:
        """Write lines to the log."""
        _note(text)

    def _tell(self) -> None:
        self.told = time.monotonic()
        self.folder.show(self.facts)


def command_of(folder: Path) -> list[str]:
    """Return the command that executes a node and ends when this process ends."""
    return [sys.executable, "-m", "galenic.study.node", str(folder), str(os.getpid())]


def main() -> None:
    """Execute the node; exit status 0 if a result was written, 1 if a failure was."""
    folder, parent = NodeFolder(Path(sys.argv[1])), int(sys.argv[2])
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        with folder.held(WAIT):
            if folder.result is None:
                execute(folder)
    except Exception as error:  # noqa: BLE001 - any failure is reported by the study, which goes on
        traceback.print_exc()
        folder.fail(_failure(error))
        sys.exit(1)


def execute(folder: NodeFolder) -> None:
    """Execute the node described by ``node.json`` and write its result.

    Raises:
        UserError: raised by the work itself.
    """
    node = folder.read()
    start = time.monotonic()
    found = WORK[node["kind"]](folder, node["spec"], FileWatcher(folder))
    folder.finish({**found, "seconds": round(time.monotonic() - start, 3)})


def _stage(folder: NodeFolder, spec: Mapping[str, Any], watcher: FileWatcher) -> dict[str, Any]:
    """Run a recipe's last stage, which makes a model folder."""
    from galenic.recipes.recipe import STAGES, parse_recipe
    from galenic.recipes.run import CompressJob

    recipe = parse_recipe(spec["recipe"])
    step = recipe.steps[-1]
    job = CompressJob(spec["base"], recipe, spec["data"], spec["text"])
    output = folder.path / f"{Path(spec['base']).stem}-{recipe.name}"
    if not output.exists():  # it exists if the process was killed before writing the result
        run = STAGES[step.stage].load_run()
        run(job.config(step, _model(folder, spec)), step.method, output, watcher)
    return {"model": output.name, **_size(str(output))}


def _answers(folder: NodeFolder, spec: Mapping[str, Any], watcher: FileWatcher) -> dict[str, Any]:
    """Evaluate a model on one benchmark with one scoring."""
    from galenic.evaluation.config import EvaluateConfig
    from galenic.evaluation.run import evaluate

    model = _model(folder, spec)
    config = EvaluateConfig(model=model, data=spec["data"], threads=_threads(), **spec["config"])
    outcome = evaluate(config, folder.path / "run", watcher, f"galenic evaluate {model}")
    return {"run": "run", "records": outcome.num_records}


def _perplexity(
    folder: NodeFolder, spec: Mapping[str, Any], watcher: FileWatcher
) -> dict[str, Any]:
    """Measure a model's perplexity on held-out text."""
    from galenic.evaluation.config import DivergenceConfig
    from galenic.evaluation.divergence import measure_divergence
    from galenic.evaluation.parent import find_reference
    from galenic.models.load import resolve_model

    asked = {key: spec[key] for key in ("against", "data", "text", "runtime")}
    asked |= {"model": _model(folder, spec), "threads": _threads()}
    config = DivergenceConfig.model_validate(asked)
    model = resolve_model(config.model)
    found = measure_divergence(model, find_reference(model, config.against), config, watcher)
    return {"perplexity": asdict(found)}


def _speed(folder: NodeFolder, spec: Mapping[str, Any], watcher: FileWatcher) -> dict[str, Any]:
    """Measure a model's speed and memory, alternating with its parent."""
    from galenic.evaluation.config import SpeedConfig
    from galenic.evaluation.parent import find_reference
    from galenic.evaluation.throughput import measure_speed
    from galenic.models.load import resolve_model

    asked = {"model": _model(folder, spec), "against": spec["base"], "threads": _threads()}
    config = SpeedConfig.model_validate(asked)
    model = resolve_model(config.model)
    found = measure_speed(model, find_reference(model, config.against), config, watcher)
    return {"speed": asdict(found)}


Work = Callable[[NodeFolder, Mapping[str, Any], FileWatcher], dict[str, Any]]
WORK: Mapping[str, Work] = {
    "stage": _stage,
    "answers": _answers,
    "perplexity": _perplexity,
    "speed": _speed,
}
"""Function that executes each kind of node."""


def _model(folder: NodeFolder, spec: Mapping[str, Any]) -> str:
    """Return the input model of a node: a named one, or the output of another node."""
    if spec["model"] is None:
        return str(spec["base"])
    before = NodeFolder(folder.path.parent / spec["model"])
    made = before.result
    if made is None:
        raise RuntimeError(f"{before.path} has no result")
    return str(before.path / made["model"])


def _size(model: str) -> dict[str, Any]:
    from galenic.models.load import resolve_model
    from galenic.models.size import inspect_model

    found = inspect_model(resolve_model(model))
    return {
        "file_bytes": found.file_bytes,
        "bits_per_weight": found.bits_per_weight,
        "parameters": found.parameters,
    }


def _note(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _threads() -> int | None:
    given = os.environ.get("GALENIC_THREADS")
    return int(given) if given else None


def _failure(error: Exception) -> NodeFailure:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in NO_ROOM:
            return NodeFailure("disk", str(error))
        cause = cause.__cause__
    if isinstance(error, UserError):
        return NodeFailure("user", str(error))
    return NodeFailure("crash", f"{type(error).__name__}: {error}")


def _end_with(parent: int) -> None:
    """End this process as soon as its parent is gone."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    os._exit(1)


if __name__ == "__main__":
    main()
