"""Answer a question in a process that has no network, and say whether it asked for one.

A process of its own, since what it gives up it cannot get back. First it sees that sockets are
refused, to Python and to native code; then whoever asks for one is killed, and the answer begins.
"""

from __future__ import annotations

import ctypes
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from galenic.assistant import DEFAULT_MODEL
from galenic.assistant.model import load_runtime
from galenic.assistant.offline import kernel_refuses, python_refuses
from galenic.assistant.pipeline import ask
from galenic.errors import UserError

__all__ = ["QUESTION", "Proof", "prove_offline", "read_proof"]

NUM_TOKENS = 32
"""That the model writes."""
_STOPPED = 31
"""Number of SIGSYS on Linux for the machines whose kernel is asked."""
QUESTION = (
    "Burning, frequent urination. Could this be a UTI, how urgent is it to see a doctor, and what "
    "should I ask at my appointment?"
)


@dataclass(frozen=True)
class Proof:
    """What came of it.

    Attributes:
        passed: the whole answer was given, and nobody asked for a network socket.
        kernel: the kernel refused them, to native code as well; else only Python was watched.
        refused: calls that were tried beforehand and refused, as they should be.
        calls: of Python code during the answer; must be empty.
        tier, sentences, sources: of the answer.
        model, tokens: that wrote a few tokens besides, whether the answer needed it or not.
        seconds: all that together, with loading the model.
        error: why not; empty if passed.
    """

    passed: bool
    kernel: bool = False
    refused: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    model: str = ""
    tier: str = ""
    sentences: int = 0
    sources: int = 0
    tokens: int = 0
    seconds: float = 0.0
    error: str = ""


def prove_offline(model: str = DEFAULT_MODEL, *, index: Path | None = None) -> Proof:
    """Answer `QUESTION` in a new process without a network.

    Args:
        model: must be on this machine already; `galenic.models.load.resolve_model` brings it.
        index: of passages; None = the user's own.
    """
    command = [sys.executable, "-m", __name__, model, *([str(index)] if index else [])]
    return read_proof(
        subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    )


def read_proof(done: subprocess.CompletedProcess[bytes]) -> Proof:
    """What a process that ended says about it."""
    if done.returncode == -_STOPPED:
        return Proof(
            passed=False,
            kernel=True,
            error="something asked for a network socket during the answer; the kernel stopped it.",
        )
    try:
        return TypeAdapter(Proof).validate_json(done.stdout)
    except ValidationError:
        last = " ".join(done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:])
        return Proof(passed=False, error=f"the process ended with {done.returncode}: {last}")


def main(model: str, index: Path | None) -> Proof:
    """In the new process: give up the network, see that it is gone, answer."""
    calls = python_refuses()
    kernel = kernel_refuses()
    refused, open_ = _tried(kernel=kernel)
    proof = Proof(passed=False, kernel=kernel, refused=refused)
    if open_:
        return replace(proof, error=f"the network could not be refused to: {', '.join(open_)}.")
    calls.calls.clear()
    if kernel:
        kernel_refuses(kill=True)
    begun = time.monotonic()
    try:
        reply = ask(QUESTION, model=model, index=index)
        name, tokens = _written(model)
    except (UserError, OSError) as error:
        return replace(proof, calls=tuple(calls.calls), error=str(error))
    return replace(
        proof,
        passed=not calls.calls,
        calls=tuple(calls.calls),
        model=name,
        tier=reply.triage.tier,
        sentences=len(reply.sentences),
        sources=len(reply.sources),
        tokens=tokens,
        seconds=round(time.monotonic() - begun, 3),
        error="the network was asked for during the answer." if calls.calls else "",
    )


def _written(model: str) -> tuple[str, int]:
    """Let the model write, too: an answer of passages alone may not need it."""
    with load_runtime(model) as runtime:
        return runtime.info.model, len(runtime.time_tokens(QUESTION, NUM_TOKENS))


def _tried(*, kernel: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ask for sockets and a name: which were refused, and which were not."""
    got: dict[str, bool] = {}
    calls: dict[str, Callable[[], object]] = {
        "Python, IPv4": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "Python, IPv6": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
        "Python, name": lambda: socket.getaddrinfo("localhost", 80),
    }
    for what, call in calls.items():
        try:
            call()
            got[what] = True
        except PermissionError:
            got[what] = False
    if kernel:
        native = ctypes.CDLL(None).socket
        stream = int(socket.SOCK_STREAM)
        got["native code, IPv4"] = native(int(socket.AF_INET), stream, 0) >= 0
        got["native code, IPv6"] = native(int(socket.AF_INET6), stream, 0) >= 0
    refused = tuple(what for what, open_ in got.items() if not open_)
    return refused, tuple(what for what, open_ in got.items() if open_)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    where = Path(arguments[1]) if len(arguments) > 1 else None
    sys.stdout.write(json.dumps(asdict(main(arguments[0], where))))
