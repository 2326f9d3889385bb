"""Test that answering works without network access, and that nothing tries to use the network.

The test runs in a separate process, since network access cannot be restored once it is blocked.
That process first checks that sockets are rejected for both Python and native code. Then the filter
is tightened, so that any process asking for a network socket is killed, and a question is answered.
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
from galenic.assistant.pipeline import ask
from galenic.errors import UserError
from galenic.offline import kernel_refuses, python_refuses

__all__ = ["QUESTION", "Proof", "prove_offline", "read_proof"]

NUM_TOKENS = 32
"""Number of tokens that the model generates during the test."""
_STOPPED = 31
"""Number of SIGSYS on x86_64 and aarch64 Linux, the signal that the seccomp filter kills with."""
QUESTION = (
    "Burning, frequent urination. Could this be a UTI, how urgent is it to see a doctor, and what "
    "should I ask at my appointment?"
)


@dataclass(frozen=True)
class Proof:
    """Result of the offline test.

    Attributes:
        passed: a complete answer was given, and no network socket was requested meanwhile.
        kernel: the kernel blocked sockets, for native code too; otherwise only Python calls were
            observed.
        refused: names of the trial calls before the answer that were rejected, as expected.
        calls: audit events of network calls by Python code during the answer; empty if passed.
        model: name of the model that generated tokens.
        tier: triage tier of the answer.
        sentences: number of sentences in the answer.
        sources: number of passages that the answer cites.
        tokens: number of tokens that the model generated in a separate step, which also runs if the
            answer itself needed no model.
        seconds: total time, including loading of the model.
        error: why the test failed; empty if passed.
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
    """Answer `QUESTION` in a new process without network access.

    Args:
        model: model name as for `load_runtime`; it must be on this machine already, see
            `galenic.models.load.resolve_model`.
        index: path of the passage index; by default the user's own.
    """
    command = [sys.executable, "-m", __name__, model, *([str(index)] if index else [])]
    return read_proof(
        subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    )


def read_proof(done: subprocess.CompletedProcess[bytes]) -> Proof:
    """Return the test result from the finished process, also if it was killed or crashed.

    Args:
        done: the process, with the JSON of a `Proof` on its standard output if it succeeded.
    """
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
    """Run the test; called in the new process only, since it blocks the network for good.

    Args:
        model: model name as for `load_runtime`.
        index: path of the passage index; by default the user's own.
    """
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
    """Generate a few tokens, since an extractive answer does not use the model.

    Returns:
        Name of the model, and the number of tokens generated.
    """
    with load_runtime(model) as runtime:
        return runtime.info.model, len(runtime.time_tokens(QUESTION, NUM_TOKENS))


def _tried(*, kernel: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Try to open network sockets and to resolve a name, to test the block.

    Args:
        kernel: also try native ``socket`` calls, which only the kernel can block.

    Returns:
        Names of the calls that were rejected, and of those that succeeded.
    """
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
