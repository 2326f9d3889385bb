"""Limits on the number of connections and on the time a request may take to arrive.

uvicorn limits neither. When a new connection would exceed the limit, the one that has been open
longest without a complete request is closed, so that idle connections cannot lock others out.
A request that is being answered is never cut off for this.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["BACKLOG", "Limits", "bounded_protocol", "most_connections"]

if TYPE_CHECKING:
    from collections.abc import Iterable

BACKLOG = 32
"""Listen backlog: connections the system holds until they are accepted, perhaps all at once."""
RESERVED = 48
"""File handles kept free for the model, the index and the system."""
READ_SECONDS = 20.0
"""Time limit for a complete request to arrive."""
WRITE_SECONDS = 30.0
"""Time limit for which a caller may stop reading an answer."""


class Limits:
    """Bounds on connections.

    Attributes:
        total: most connections at once.
        per_client: most from one address. For this machine's own address `total` applies, since
            all its programs (and a proxy) share it.
        read_seconds: time limit for a complete request to arrive.
        write_seconds: time limit for which a caller may stop reading an answer.
    """

    def __init__(
        self,
        total: int,
        per_client: int | None = None,
        read_seconds: float = READ_SECONDS,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        self.total = total
        self.per_client = per_client or max(4, total // 4)
        self.read_seconds = read_seconds
        self.write_seconds = write_seconds


def most_connections(wanted: int) -> int:
    """Return ``wanted``, or fewer if the process may not open that many files; at least 8."""
    with suppress(ImportError):  # Windows counts none
        import resource

        import psutil

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:
            free = soft - psutil.Process().num_fds() - RESERVED - BACKLOG
            return max(8, min(wanted, free))
    return wanted


def bounded_protocol(limits: Limits) -> type[H11Protocol]:
    """Return uvicorn's HTTP protocol class with these limits, for ``uvicorn.Config(http=...)``."""
    return type("BoundedProtocol", (_Bounded,), {"limits": limits})


class _Bounded(H11Protocol):
    limits: ClassVar[Limits]
    clock: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether a complete request has arrived and is being answered."""
        cycle = self.cycle
        return cycle is not None and not cycle.more_body and not cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        others = [one for one in self.connections if isinstance(one, _Bounded) and one is not self]
        mine = [one for one in others if one.client and self.client and
                one.client[0] == self.client[0]]  # fmt: skip
        if len(others) >= self.limits.total:
            self._make_room(others)
        elif not self._is_local() and len(mine) >= self.limits.per_client:
            self._make_room(mine)
        if not transport.is_closing():
            self._wind()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.busy:
            self._unwind()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwind()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing() and not self.busy:
            self._wind()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unwind()
        self.clock = self.loop.call_later(self.limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unwind()

    def send_400_response(self, msg: str) -> None:
        """Send the error in the server's JSON format."""
        self._refuse(400, "Bad Request", msg)

    def _wind(self) -> None:
        self._unwind()
        self.clock = self.loop.call_later(self.limits.read_seconds, self._too_slow)

    def _unwind(self) -> None:
        if self.clock is not None:
            self.clock.cancel()
            self.clock = None

    def _too_slow(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()  # no request has begun, or it is idle between two requests
        elif not self.cycle.response_started:
            self._refuse(408, "Request Timeout", "the request took too long to come")
        else:
            self.transport.abort()

    def _make_room(self, among: Iterable[_Bounded]) -> None:
        """Close the connection idle for longest; refuse this one if none is idle."""
        idle = [one for one in among if not one.busy and one.clock is not None]
        if idle:
            oldest = min(idle, key=_ends_at)
            oldest.transport.abort()
            oldest.connections.discard(oldest)
        else:
            self._refuse(503, "Service Unavailable", "too many connections; try again later")

    def _is_local(self) -> bool:
        try:
            return self.client is None or ipaddress.ip_address(self.client[0]).is_loopback
        except ValueError:
            return True

    def _refuse(self, status: int, phrase: str, message: str) -> None:
        kind = "invalid_request_error" if status < 500 else "server_error"
        body = json.dumps(
            {"error": {"message": message, "type": kind, "param": None, "code": None}}
        )
        head = (
            f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write((head + body).encode())
        self.transport.close()


def _ends_at(one: Any) -> float:
    return float(one.clock.when())
