"""Upload of notes: a file's text is extracted in memory, returned, and not kept.

Files are untrusted, so each is read in a child process that can be killed.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from galenic.errors import UserError
from galenic.limits import NOTES_BYTES, NOTES_SECONDS, one_line
from galenic.serve.body import told
from galenic.serve.guard import NOTES_PATH
from galenic.serve.settings import ServeConfig
from galenic.serve.worker import Busy

__all__ = ["NotesRoutes"]

MOST_WAITING = 4


class NotesRoutes:
    """Route that extracts the text of files dropped onto the page.

    Args:
        config: server settings; the size limit of files is `NOTES_BYTES` instead.
    """

    def __init__(self, config: ServeConfig) -> None:
        self.config = config.model_copy(update={"max_bytes": NOTES_BYTES})
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="files")
        self._inside = 0
        self.routes = [Route(NOTES_PATH, self.read, methods=["POST"])]

    @told
    async def read(self, request: Request) -> Response:
        """Return the text of the file in the request body; its ``name`` is in the query."""
        name = request.query_params.get("name", "")
        if self._inside > MOST_WAITING:
            raise Busy(Busy.TEXT)
        raw = await request.body()
        loop = asyncio.get_running_loop()
        self._inside += 1
        try:
            return JSONResponse(await loop.run_in_executor(self._pool, read_notes, raw, name))
        finally:
            self._inside -= 1

    def close(self) -> None:
        """Wait until the current file has been read."""
        self._pool.shutdown(cancel_futures=True)


def read_notes(raw: bytes, name: str) -> dict[str, Any]:
    """Extract the text of a file, with notes on what could not be read.

    Args:
        raw: content of the file.
        name: file name; its extension tells the format.

    Raises:
        UserError: the format is not supported, the file is damaged, or reading takes too long.
    """
    line = [sys.executable, "-m", "galenic.serve.notes_child", name.rpartition(".")[2].lower()]
    try:
        done = subprocess.run(
            line, input=raw, capture_output=True, timeout=NOTES_SECONDS, check=False
        )
        found: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"{one_line(name)} takes longer than {NOTES_SECONDS} seconds to read; copy the part "
            "that matters into the box"
        ) from error
    except ValueError as error:  # the child ended in the middle of its output
        raise UserError(f"{one_line(name)} cannot be read: it may be damaged") from error
    if "error" in found:
        raise UserError(f"{one_line(name)}: {found['error']}")
    return {"name": name, **found}
