"""The server under load, and what the kept beginning of a prompt saves.

    python benchmarks/serve_load.py --clients 64 -o results/serve_load

Each of the clients sends one question of its own at the same time, over its own connection; every
answer must be the one that the model gives to that question alone. Memory is the server's, before,
at most, and after. Then the time to the first token: a long system message with a question, cold,
and with another question behind the same system message, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import threading
import time
import urllib.request
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from compared import GALENIC

SYSTEM = "Answer from these passages only. " + " ".join(
    f"[{i}] A urinary tract infection is treated with antibiotics for {i} days." for i in range(24)
)


class Server:
    """A server process."""

    def __init__(self, model: str, *flags: str) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = int(one.getsockname()[1])
        line = ["serve", "--model", model, "--port", str(self.port), *flags]
        environment = {k: v for k, v in os.environ.items() if k != "GALENIC_API_KEY"}
        self.process = subprocess.Popen(
            [GALENIC, *line], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.peak = 0
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health").read()
                break
            except OSError:
                time.sleep(0.1)

    def ask(self, messages: list[dict[str, str]], max_tokens: int) -> tuple[str, float]:
        """The answer and the seconds to its first piece of text."""
        body = {"messages": messages, "max_tokens": max_tokens, "stream": True}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        text, begun, first = "", time.perf_counter(), 0.0
        with urllib.request.urlopen(request, timeout=900) as found:
            for line in found:
                if not line.startswith(b"data: {"):
                    continue
                delta = json.loads(line[6:])["choices"][0]["delta"]
                if delta.get("content"):
                    first = first or time.perf_counter() - begun
                    text += delta["content"]
        return text, first

    def memory(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


COMPLAINTS = ("a cough", "back pain", "a rash", "dizziness", "heartburn", "a sore knee",
              "poor sleep", "hay fever")  # fmt: skip
PEOPLE = ("A baker", "A pilot", "A swimmer", "A teacher", "A farmer", "A singer", "A painter",
          "A gardener")  # fmt: skip


def question(number: int) -> list[dict[str, str]]:
    """One of its own for each number: who, what, and for how long."""
    who, what = PEOPLE[number % 8], COMPLAINTS[number // 8 % 8]
    text = f"{who} has had {what} for {number + 2} days. Write a short story about it."
    return [{"role": "user", "content": text}]


def load(model: str, clients: int, max_tokens: int) -> dict[str, Any]:
    """All clients at once, against each alone."""
    server = Server(model, "--max-queue", str(clients))
    alone = [server.ask(question(i), max_tokens)[0] for i in range(clients)]
    before = server.memory()
    found: dict[int, tuple[str, float]] = {}
    peak = before

    def one(number: int) -> None:
        found[number] = server.ask(question(number), max_tokens)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        peak = max(peak, server.memory())
        time.sleep(0.05)
    seconds = time.perf_counter() - begun
    after = server.memory()
    server.stop()
    return {
        "clients": clients,
        "own_answers": sum(found[i][0] == alone[i] for i in range(clients)),
        "different_answers": len(set(alone)),
        "seconds": round(seconds, 1),
        "memory_mb": {"before": before // 10**6, "peak": peak // 10**6, "after": after // 10**6},
    }


def first_tokens(model: str, rounds: int) -> dict[str, Any]:
    """Cold, and behind a beginning that was there before, in turns."""
    server = Server(model)
    cold, warm = [], []
    system = {"role": "system", "content": SYSTEM}
    for number in range(rounds):
        server.ask(question(1000 + number), 1)  # another beginning: nothing is kept
        cold.append(server.ask([system, *question(2 * number)], 2)[1])
        warm.append(server.ask([system, *question(2 * number + 1)], 2)[1])
    server.stop()
    ratios = [a / b for a, b in zip(cold, warm, strict=True)]
    return {
        "rounds": rounds,
        "cold_ms": round(1000 * statistics.median(cold)),
        "kept_ms": round(1000 * statistics.median(warm)),
        "ratio": {f.__name__: round(f(ratios), 2) for f in (statistics.median, min, max)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("-o", "--output", default="results/serve_load")
    options = parser.parse_args()
    found = {
        "model": options.model,
        "load": load(options.model, options.clients, options.max_tokens),
        "first_token": first_tokens(options.model, options.rounds),
        "versions": {"python": platform.python_version(), "galenic": version("galenic")},
    }
    command = f"python benchmarks/serve_load.py --model {options.model} --clients {options.clients}"
    text = json.dumps(found, indent=1)
    print(text)
    Path(f"{options.output}.txt").write_text(f"$ {command}\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
