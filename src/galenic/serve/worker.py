"""Queue in front of the model: requests of many callers are answered one after the other.

The model runs in its own thread and generates one answer at a time, since on a CPU two at once
would only slow both down. A caller who disconnects leaves the queue, or, while being served, stops
the model at the next token.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

from galenic.runtimes.base import Generation, Runtime, Writing
from galenic.runtimes.constrained import JsonForm

__all__ = ["Busy", "Order", "Task", "WholeAnswer", "Worker"]

T = TypeVar("T")


class Busy(Exception):  # noqa: N818 - a normal condition, not an error
    """Raised when the queue is full."""

    TEXT = "Too many requests are waiting; try again in a few seconds."


@dataclass(frozen=True)
class Order:
    """A generation request.

    Attributes:
        prompt: returns the prompt text with the chat template applied. It is called in the model's
            thread, so that a slow template delays only callers who wait for the model anyway.
        how: generation settings.
        schema: JSON schema that the answer must follow; None for free text.
    """

    prompt: Callable[[], str]
    how: Writing
    schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class WholeAnswer:
    """A finished answer, as in `Generation`; ``num_prompt`` is the number of prompt tokens."""

    text: str
    num_tokens: int
    finished: bool
    num_prompt: int


Task: TypeAlias = Callable[[Callable[[], bool]], Iterator[T]]
"""Work for the model's thread: yields results while the function it is given returns True."""
_END = object()


@dataclass
class _Job:
    task: Task[Any]
    deliver: Callable[[Any], None]
    cancelled: threading.Event = field(default_factory=threading.Event)


class Worker:
    """A runtime and its request queue. All calls must come from one event loop.

    Args:
        runtime: closed by `close`.
        max_queue: most callers that may wait.
        max_seconds: time limit of one answer; a longer one is cut off.
    """

    def __init__(self, runtime: Runtime, *, max_queue: int, max_seconds: float) -> None:
        self.runtime = runtime
        self.max_queue = max_queue
        self.max_seconds = max_seconds
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._inside = 0

    @property
    def waiting(self) -> int:
        """Number of callers waiting, not counting the one being served."""
        return max(0, self._inside - 1)

    @property
    def full(self) -> bool:
        """Whether the queue has no room for another caller."""
        return self._inside > self.max_queue

    def stream(self, order: Order) -> AsyncGenerator[str | WholeAnswer, None]:
        """Yield pieces of the answer as they are generated, then a `WholeAnswer`; see `run`."""
        return self.run(lambda should_continue: self._write(order, should_continue))

    async def run(self, task: Task[T]) -> AsyncGenerator[T, None]:
        """Run a task in the model's thread and yield its results as they arrive.

        Closing the iterator early stops the work.

        Raises:
            Busy: the queue is full; raised before the first result.
            Exception: whatever the task raises.
        """
        if self.full:
            raise Busy(Busy.TEXT)
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Any] = asyncio.Queue()

        def deliver(piece: Any) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        job = _Job(task, deliver)
        self._inside += 1
        done = loop.run_in_executor(self._pool, self._work, job)
        try:
            while (piece := await pieces.get()) is not _END:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            job.cancelled.set()
            done.add_done_callback(self._leave)

    def close(self) -> None:
        """Cancel waiting jobs and release the model."""
        self._pool.shutdown(cancel_futures=True)
        self.runtime.close()

    @cached_property
    def _json_form(self) -> JsonForm:
        return JsonForm(self.runtime)

    def _leave(self, _: object) -> None:
        self._inside -= 1

    def _work(self, job: _Job) -> None:
        """Run one job; called in the model's thread."""
        end = time.monotonic() + self.max_seconds

        def should_continue() -> bool:
            return not job.cancelled.is_set() and time.monotonic() < end

        if job.cancelled.is_set():
            return
        try:
            for piece in job.task(should_continue):
                job.deliver(piece)
                if job.cancelled.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - any error is passed on to the caller
            known = isinstance(error, Exception)
            job.deliver(error if known else RuntimeError(type(error).__name__))
        job.deliver(_END)

    def _write(
        self, order: Order, should_continue: Callable[[], bool]
    ) -> Iterator[str | WholeAnswer]:
        schema = order.schema
        choices = None if schema is None else self._json_form.text(schema)
        prompt = order.prompt()
        [tokens] = self.runtime.encode_batch([prompt])
        made: Generation = yield from self.runtime.stream(
            prompt, replace(order.how, choices=choices), should_continue
        )
        yield WholeAnswer(made.text, made.num_tokens, made.finished, len(tokens))
