"""What every request passes before anything is done with it.

Only callers at the right door get in: the Host header must name this server (a page of another site
that rebinds its name to 127.0.0.1 is refused), there is no CORS, and where a key is set it must be
shown. Requests are bounded in size, and every answer carries a strict content security policy.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from galenic.serve.page import PAGE_PATHS
from galenic.serve.settings import ServeConfig

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "error_response"]

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self'; form-action 'none'; frame-ancestors 'none'; "
    "base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
OPEN = ("/health", *PAGE_PATHS)
"""Paths that need no key: they say nothing but that somebody is there, and ask for the key."""


def error_response(status: int, message: str, kind: str = "invalid_request_error") -> JSONResponse:
    """An error in the form that OpenAI's clients read."""
    body = {"error": {"message": message, "type": kind, "param": None, "code": None}}
    return JSONResponse(body, status_code=status)


class Guard:
    """ASGI middleware.

    Args:
        app: what is guarded.
        config: names, key and bounds.
    """

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self.app = app
        self.config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the head of a request; count its bytes as they come."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send_guarded)
            return
        await self.app(scope, self._counting(receive), send_guarded)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        name = host.rpartition(":")[0] if _has_port(host) else host
        if name not in self.config.hosts:
            return error_response(421, "this server does not go by that name (see --allow-host)")
        if not self._may_enter(scope["path"], headers):
            return error_response(401, "the API key is missing or wrong", "authentication_error")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self.config.max_bytes:
            return error_response(413, f"at most {self.config.max_bytes} bytes are taken")
        return None

    def _may_enter(self, path: str, headers: Headers) -> bool:
        key = self.config.api_key
        if key is None or path in OPEN:
            return True
        shown = headers.get("authorization", "").removeprefix("Bearer ").encode()
        return hmac.compare_digest(shown, key.encode())

    def _counting(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.config.max_bytes:  # a chunked body does not say its length before
                return {"type": "http.disconnect"}
            return message

        return counted


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdigit() and not host.endswith("]")
