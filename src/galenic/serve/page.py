"""The web page: static files from the package; nothing is loaded from elsewhere."""

from __future__ import annotations

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

__all__ = ["PAGE_PATHS", "page_routes"]

_MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_SCRIPTS = ("app", "banner", "call", "copy", "dialogs", "dom", "notes", "passage",
            "questions", "stream", "turn")  # fmt: skip
_FILES = {
    "/": "index.html",
    "/favicon.svg": "favicon.svg",
    "/style.css": "style.css",
    **{f"/{name}.js": f"{name}.js" for name in _SCRIPTS},
}
PAGE_PATHS = tuple(_FILES)
"""URL paths of the page's files; none reveals anything about the model or the callers."""


def page_routes() -> list[Route]:
    """Return the routes of the page (``/``), its scripts, style sheet and icon."""
    return [_route(path, name) for path, name in _FILES.items()]


def _route(path: str, name: str) -> Route:
    body = files("galenic.serve").joinpath("page", name).read_bytes()
    media_type = _MEDIA_TYPES[f".{name.rpartition('.')[2]}"]

    async def serve(_: Request) -> Response:
        return Response(body, media_type=media_type)

    return Route(path, serve)
