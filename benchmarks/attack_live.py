"""The part of `benchmarks/attack.py` with a server, and with work that is killed."""

from __future__ import annotations

import argparse
import http.client
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attack_kinds import CHEST, Base
from attack_mutate import BAD_TEXTS, bytes_of, json_of

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from commands import GALENIC

__all__ = ["attack_live"]

SECONDS = 60
PATIENCE = 5
"""Seconds after which a request without an answer is taken for incomplete."""
PATHS = ("/v1/chat/completions", "/v1/ask", "/v1/triage", "/v1/models", "/health", "/", "/x")
BODY = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "Does iron help?"}],
    "max_tokens": 4,
    "temperature": 0.5,
    "stream": False,
    "text": "I have a cold.",
    "question": "Does iron help?",
}


def attack_live(
    base: Base, work: Path, arguments: argparse.Namespace, known: dict[str, Counter[str]]
) -> Iterator[tuple[str, Counter[str]]]:
    """Rows of the table: requests to a server, a server that is killed, runs that are killed.

    Args:
        base: good inputs.
        work: folder for what is written.
        arguments: of the command line.
        known: rows that a run before this one has made, by ``SEED/NAME``.
    """
    kills = arguments.kills
    parts: dict[str, Callable[[random.Random], Counter[str]]] = {
        "requests to a server": lambda rng: _requests(rng, base, arguments.requests),
        "server killed as it answers": lambda rng: _server_kills(rng, base, max(1, kills // 4)),
        "llama runs killed": lambda rng: _run_kills(
            rng, base.folder / "tiny.gguf", work, max(1, kills // 2)
        ),
        "torch runs killed": lambda rng: _run_kills(
            rng, base.folder / "wide", work, max(1, kills // 4)
        ),
    }
    for name, part in parts.items():
        seed = f"{arguments.seed}/{name}"
        yield name, known.get(seed) or part(random.Random(seed))


class _Server:
    def __init__(self, base: Base) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = int(one.getsockname()[1])
        words = ["serve", "--model", str(base.folder / "tiny.gguf"), "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*GALENIC, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 120
        while self.ask("GET", "/health")[0] != 200:
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError("the server does not start")
            time.sleep(0.2)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": "application/json"})
            found = connection.getresponse()
            return found.status, found.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def send(self, raw: bytes) -> bytes:
        """Bytes as they are; what comes back until the other side closes.

        The server drops a request whose sender says no more before the answer, so that is said
        only where no answer comes: the request may be incomplete.
        """
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as one:
            one.sendall(raw)
            found = b""
            try:
                found = one.recv(65536)
            except TimeoutError:
                one.shutdown(socket.SHUT_WR)
            one.settimeout(SECONDS)
            while piece := one.recv(65536):
                found += piece
            return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def _raw(rng: random.Random) -> bytes:
    body = json_of(rng, BODY) if rng.random() < 0.8 else bytes_of(rng, json.dumps(BODY).encode())
    path, method = rng.choice(PATHS), rng.choice(("POST", "POST", "POST", "GET", "PUT", "X"))
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", "Connection: close"]
    if rng.random() < 0.3:
        odd = rng.choice(BAD_TEXTS)[:70_000].encode("ascii", "replace").decode()
        lines.insert(rng.randrange(1, len(lines)), f"{rng.choice(('X', 'Origin', 'Range'))}: {odd}")
    raw = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    return bytes_of(rng, raw, near=200) if rng.random() < 0.3 else raw


def _requests(rng: random.Random, base: Base, number: int) -> Counter[str]:
    found: Counter[str] = Counter(inputs=number)
    server = _Server(base)
    try:
        for one in range(number):
            try:
                status = server.send(_raw(rng))[9:12]
            except TimeoutError:
                found["hang"] += 1
                continue
            except OSError:
                status = b"400"  # it closed the connection early, as it may
            found["traceback" if status == b"500" else "done"] += 1
            if server.process.poll() is not None:
                found["killed"] += 1
                server = _Server(base)
            if server.ask("GET", "/health")[0] != 200:
                found["wrong"] += 1
            if one % 5 == 0 and not _emergency(server):
                found["wrong"] += 1
    finally:
        server.close()
    return found


def _emergency(server: _Server) -> bool:
    status, text = server.ask("POST", "/v1/triage", {"text": CHEST})
    return status == 200 and json.loads(text)["tier"] == "emergency"


def _server_kills(rng: random.Random, base: Base, number: int) -> Counter[str]:
    """Killed as it writes; started again, it must answer."""
    found: Counter[str] = Counter(inputs=number)
    for _ in range(number):
        server = _Server(base)
        body = json.dumps({**BODY, "max_tokens": 500, "stream": True}).encode()
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) as one:
            one.sendall(head.encode() + body)
            time.sleep(rng.random() / 2)
            server.process.send_signal(rng.choice((signal.SIGKILL, signal.SIGTERM)))
            try:
                server.process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                found["hang"] += 1
                server.close()
                continue
        server = _Server(base)
        found["done" if _emergency(server) else "wrong"] += 1
        server.close()
    return found


def _run_kills(rng: random.Random, model: Path, work: Path, number: int) -> Counter[str]:
    """A run killed at any moment and gone on with has the records of one that was not, by byte."""
    found: Counter[str] = Counter(inputs=number)
    words = ["evaluate", str(model), "--data", "sample", "--benchmarks", "sample", "--threads", "1"]
    words += ["--scoring", "letter", "-q", "-o"]
    begun = time.monotonic()
    whole = _finish([*words, str(work / "whole")])
    took = time.monotonic() - begun
    names = ("records.jsonl", "items.jsonl")
    for one in range(number):
        folder = work / f"killed-{one}"
        for _ in range(rng.randrange(1, 4)):
            child = subprocess.Popen(
                [*GALENIC, *words, str(folder)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            time.sleep(rng.uniform(0.3, 1.0) * took)
            child.kill()
            child.wait()
        status = _finish([*words, str(folder)])
        if whole or status:
            found["traceback"] += 1
        elif any((folder / n).read_bytes() != (work / "whole" / n).read_bytes() for n in names):
            found["wrong"] += 1
        else:
            found["done"] += 1
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(work / "whole", ignore_errors=True)
    return found


def _finish(words: list[str]) -> int:
    return subprocess.run([*GALENIC, *words], check=False, capture_output=True).returncode
