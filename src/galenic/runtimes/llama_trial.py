"""The first load of a model on a machine, in a process that may die of it (run by ``python -m``).

llama.cpp ends the whole process over much that it does not expect in a file. So a file that it has
not loaded before is checked (`galenic.models.gguf.check`), then loaded, tokenized with and computed
with in a child; what went well is remembered for these bytes and this build of the library.
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
"""How much longer than its processor time the child may take beside other work."""
TEXT = "The dose was 5 µg.\n\tÄrzte \u4e2d\u6587 \U0001f600 e\u0301 <s> [INST] \x00\x7f"
"""Letters, digits, spaces, signs of one to four bytes, and what looks like special tokens."""
SHOWN = 4096
"""Tokens of the vocabulary that are turned back into text."""


def check_loads(library: LibLlama, model: ModelFiles) -> None:
    """Make sure that the library loads a model without ending the process.

    Raises:
        UserError: the file is damaged, or the child could not load it.
    """
    key = f"{model.sha256} {library.sha256}"
    if noted(TABLE, key):
        return
    check_model(model.path)
    logger.info("loading %s for the first time, in a process of its own", model.path)
    try_in_child(model.path, model.adapter)
    note(TABLE, key)


def try_in_child(path: Path, adapter: Path | None = None) -> None:
    """Load a file, with an adapter where there is one, and compute with it in a child.

    Raises:
        UserError: as the child says, or it died or took too long.
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
    """What the exit status of a child says."""
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
    """In the child: load, encode, decode, compute.

    Raises:
        UserError: the library refuses the file, or what it computes is no number.
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
            f"{path} predicts what is no number (NaN or infinite): its weights are damaged. "
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
