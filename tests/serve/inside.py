"""The whole server in a thread of this process, with a runtime of the test's own."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from typing import Any

from served import free_port

from galenic.runtimes.base import Runtime
from galenic.serve.app import create_app
from galenic.serve.connections import Limits
from galenic.serve.listen import server_of, take_address
from galenic.serve.settings import ServeConfig

__all__ = ["Inside"]


class Inside:
    """Answers until it is closed; `url` and the port are its own."""

    def __init__(self, runtime: Runtime, limits: Limits | None = None, **settings: Any) -> None:
        self.port = free_port()
        config = ServeConfig.model_validate({"port": self.port, **settings})
        self.door = take_address(config)
        self.server = server_of(create_app(runtime, config), limits or Limits(64))
        self.thread = threading.Thread(target=self.server.run, args=([self.door],), daemon=True)
        self.thread.start()

    def send(
        self, path: str, body: Any = None, headers: dict[str, str] | None = None, method: str = ""
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method or ("POST" if data else "GET"), path, data, headers or {})
            found = connection.getresponse()
            text = found.read().decode()
            kind = found.getheader("content-type", "")
            return found.status, json.loads(text) if kind == "application/json" else text
        finally:
            connection.close()

    def connect(self, start: bytes = b"") -> socket.socket:
        """An open connection that has sent so much."""
        found = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        found.sendall(start)
        return found

    def answer(self, raw: bytes = b"") -> bytes:
        """What comes back first."""
        with self.connect(raw) as one:
            return one.recv(1000)

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        self.door.close()
