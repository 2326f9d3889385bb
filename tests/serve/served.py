"""A server in a process of its own, and raw requests to it."""

from __future__ import annotations

import http.client
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from commands import Running

__all__ = ["Server"]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """A server process."""

    def __init__(self, model: Path, *flags: str, key: str | None = None) -> None:
        self.port = free_port()
        environment = {"GALENIC_THREADS": "1"} | ({"GALENIC_API_KEY": key} if key else {})
        line = ["serve", "--model", model, "--port", self.port, *flags]
        self.process = Running(*line, **environment)
        self.wait()

    def wait(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.send("GET", "/health")[0] in (200, 401, 421):
                    return
            except OSError:
                time.sleep(0.1)
        pytest.fail(f"no server: {self.stop()}")

    def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, data, headers or {})
            found = connection.getresponse()
            return found.status, found.read(), {k.lower(): v for k, v in found.getheaders()}
        finally:
            connection.close()

    def chat(self, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        status, data, _ = self.send("POST", "/v1/chat/completions", body, headers)
        return status, json.loads(data)

    def stop(self) -> str:
        return self.process.stop()
