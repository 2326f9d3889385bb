"""ASGI middleware that checks every request before it is handled.

The Host header must name this server (against DNS rebinding of another site to 127.0.0.1), a POST
from a browser must come from this server's own page, CORS is off, and if an API key is set it must
be sent. Requests are limited in size, and every answer carries a strict content security policy.
Every failure is answered; what the caller wrote is never logged.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from galenic.limits import NOTES_BYTES
from galenic.serve.page import PAGE_PATHS
from galenic.serve.said import say_failure
from galenic.serve.settings import ServeConfig

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["NOTES_PATH", "RequestGuard", "error_response"]

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
NOTES_PATH = "/v1/notes"
READING = ("GET", "HEAD", "OPTIONS")
"""HTTP methods that change nothing."""
OPEN = ("/health", *PAGE_PATHS)
"""Paths that need no API key: the page, which asks for the key, and the health check."""


def error_response(
    status: int,
    message: str,
    kind: str = "invalid_request_error",
    *,
    param: str | None = None,
    code: str | None = None,
) -> JSONResponse:
    """Build an error response in OpenAI's format."""
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return JSONResponse(body, status_code=status)


class RequestGuard:
    """ASGI middleware.

    Args:
        app: the wrapped application.
        config: host names, API key and limits.
    """

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self.app = app
        self.config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request's headers, and count the bytes of its body as they arrive."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send_guarded)
            return
        try:
            await self.app(scope, self._counting(receive, self._most(scope)), send_guarded)
        except Exception as error:  # noqa: BLE001 - the last line of defence
            say_failure("a request", error)
            if not started:
                failed = error_response(500, "this request failed; try again", "server_error")
                await failed(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        name = host.rpartition(":")[0] if _has_port(host) else host
        if name not in self.config.hosts:
            return error_response(421, "this server does not go by that name (see --allow-host)")
        if scope["method"] not in READING and not _is_own_page(headers, host):
            return error_response(403, "pages of other addresses may not send requests here")
        if not self._may_enter(scope["path"], headers):
            return error_response(401, "the API key is missing or wrong", "authentication_error")
        length = headers.get("content-length", "0")
        most = self._most(scope)
        if not length.isdigit() or int(length) > most:
            return error_response(413, f"at most {most} bytes are taken")
        return None

    def _may_enter(self, path: str, headers: Headers) -> bool:
        key = self.config.api_key
        if key is None or path in OPEN:
            return True
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        given = shown.strip(" ").encode("latin-1")  # the bytes as they came
        same = hmac.compare_digest(given, key.encode())
        return same and scheme.lower() == "bearer"

    def _most(self, scope: Scope) -> int:
        """Size limit of a request's body in bytes; uploaded files have a larger one."""
        return NOTES_BYTES if scope["path"] == NOTES_PATH else self.config.max_bytes

    def _counting(self, receive: Receive, most: int) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:  # a chunked body does not announce its length
                return {"type": "http.disconnect"}
            return message

        return counted


def _is_own_page(headers: Headers, host: str) -> bool:
    """Whether a browser's request comes from this server's own page.

    Programs other than browsers send neither Sec-Fetch-Site nor Origin. Another port counts as
    another site.
    """
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        found = urlsplit(origin.lower())
    except ValueError:
        return False
    usual = {"http": ":80", "https": ":443"}.get(found.scheme)
    return usual is not None and found.netloc.removesuffix(usual) == host.removesuffix(usual)


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdigit() and not host.endswith("]")
