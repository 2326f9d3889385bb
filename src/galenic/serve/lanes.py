"""Thread pools for triage of texts, separate from the model's thread.

Triage takes milliseconds for an ordinary message and seconds for 250,000 characters. Long texts
have a pool of their own, so that a few of them cannot delay a message of two lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["Lanes"]

T = TypeVar("T")
LONG = 10_000
"""Texts of at least this many characters use the pool for long texts."""


class Lanes:
    """Pools for short and long texts. Use from one event loop; `close` waits for running work."""

    def __init__(self) -> None:
        self._short = ThreadPoolExecutor(3, thread_name_prefix="short")
        self._long = ThreadPoolExecutor(1, thread_name_prefix="long")

    async def read(self, size: int, read: Callable[..., T], *given: Any) -> T:
        """Run ``read(*given)`` in the pool for texts of ``size`` characters; return its result."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._short if size < LONG else self._long, read, *given)

    def close(self) -> None:
        self._short.shutdown(cancel_futures=True)
        self._long.shutdown(cancel_futures=True)
