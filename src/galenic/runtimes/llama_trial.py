"""Try the first load of a model in a child process, which may crash (run by ``python -m``).

llama.cpp aborts the whole process on many unexpected values in a file. So a new file is first
checked (`galenic.models.gguf.check`), then loaded, used for tokenizing and run in a child process.
Success is cached by the hashes of the model and of the library.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from galenic.cache import note, noted
from galenic.errors import UserError
from galenic.limits import TRIAL_BYTES_A_SECOND, TRIAL_SECONDS, one_line
from galenic.models.files import ModelFiles
from galenic.models.gguf.check import check_model
from galenic.models.gguf.split import parts_of
from galenic.runtimes.libllama import LibLlama, load_library
from galenic.runtimes.llama_engine import LlamaEngine
from galenic.runtimes.threads import choose_threads

__all__ = ["check_loads", "main", "try_in_child"]

logger = logging.getLogger("galenic.llama")

TABLE = "loaded.json"
WALL = 6
"""Wall time limit of the child, as a multiple of its CPU time limit: the machine may be busy."""
TEXT = "The dose was 5 µg.\n\tÄrzte \u4e2d\u6587 \U0001f600 e\u0301 <s> [INST] \x00\x7f"
"""Letters, digits, spaces, characters of one to four bytes, and lookalikes of special tokens."""
SHOWN = 4096
"""Approximate number of vocabulary tokens that are decoded as a test."""


def check_loads(library: LibLlama, model: ModelFiles) -> None:
    """Check that the library can load a model without crashing; a pass is cached.

    Raises:
        UserError: the file is damaged, or the child process could not load it.
    """
    key = f"{model.sha256} {library.sha256}"
    if noted(TABLE, key):
        return
    check_model(model.path)
    logger.info("loading %s for the first time, in a process of its own", model.path)
    try_in_child(model.path, model.adapter)
    note(TABLE, key)


def try_in_child(path: Path, adapter: Path | None = None) -> None:
    """Load and run a model, with its adapter if it has one, in a child process.

    Raises:
        UserError: the child reported an error, crashed or took too long.
    """
    size = sum(part.stat().st_size for part in parts_of(path))
    seconds = max(1, round(TRIAL_SECONDS + size / TRIAL_BYTES_A_SECOND))
    command = [sys.executable, "-m", "galenic.runtimes.llama_trial", str(seconds), os.fspath(path)]
    command += [] if adapter is None else [os.fspath(adapter)]
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=WALL * seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _cannot(path, f"it does not end within {WALL * seconds:.0f} seconds") from error
    said = done.stdout.decode("utf-8", "replace").splitlines()
    if done.returncode == 0 and said:
        found: dict[str, str] = json.loads(said[-1])
        if "error" in found:
            raise UserError(found["error"])
        return
    last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
    raise _cannot(
        path, f"llama.cpp {_death(done.returncode)} ({one_line(last[0] if last else '')})"
    )


def _death(status: int) -> str:
    """Describe the exit status of the child for an error message."""
    if -status == getattr(signal, "SIGXCPU", None):
        return "took more of the processor than loading can take"
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def _cannot(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} could not be loaded: {why}. It was tried in a process of its own, so nothing else "
        "is harmed. The file may be damaged or made to harm; download it again or choose another."
    )


def main(path: Path, adapter: Path | None = None) -> None:
    """Run in the child process: load the model, encode, decode and compute.

    Raises:
        UserError: the library cannot load the file, or its logits are not finite.
    """
    engine = LlamaEngine(load_library(), path, threads=choose_threads(), adapter=adapter)
    pieces = engine.pieces()
    tokens = engine.encode(TEXT)[: engine.context_length - 1]
    engine.detokenize(tokens)
    engine.detokenize(range(0, len(pieces), max(1, len(pieces) // SHOWN)))
    _ = engine.special_tokens(), engine.chat_template
    if not tokens or not 0 <= min(tokens) <= max(tokens) < len(pieces):
        raise UserError(f"{path} has a vocabulary that encodes no text.")
    first = engine.start(tokens, room=1).copy()
    then = engine.step(tokens[0], len(tokens))
    if not (np.isfinite(first).all() and np.isfinite(then).all()):
        raise UserError(
            f"{path} predicts values that are NaN or infinite: its weights are damaged. "
            "Download or convert it again."
        )
    engine.close()


if __name__ == "__main__":
    allowed = int(sys.argv[1])
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        allowed *= choose_threads()
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, allowed + 1))
    answer = {}
    try:
        main(*map(Path, sys.argv[2:]))
    except UserError as error:
        answer["error"] = str(error)
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
