"""Threads in which texts are read, apart from the model's: a long text waits for long ones only.

Triage takes milliseconds for what people write and seconds for 250,000 characters; a few callers
with such texts must not hold up the one who writes two lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["Lanes"]

T = TypeVar("T")
LONG = 10_000
"""Characters from which a text waits in the other lane."""


class Lanes:
    """Use from one event loop; `close` waits for what is being read."""

    def __init__(self) -> None:
        self._short = ThreadPoolExecutor(3, thread_name_prefix="short")
        self._long = ThreadPoolExecutor(1, thread_name_prefix="long")

    async def read(self, size: int, read: Callable[..., T], *given: Any) -> T:
        """What ``read`` gives for a text of that many characters."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._short if size < LONG else self._long, read, *given)

    def close(self) -> None:
        self._short.shutdown(cancel_futures=True)
        self._long.shutdown(cancel_futures=True)
