"""One model, many callers: they wait in line, each is written to in turn, none is mixed up.

The model works in a thread of its own, one answer after the other: on a CPU two at once would only
make both slower. A caller who goes away leaves the line, or stops the model at the next token.
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


class Busy(Exception):  # noqa: N818 - nothing went wrong
    """The line is full."""

    TEXT = "Too many requests are waiting; try again in a few seconds."


@dataclass(frozen=True)
class Order:
    """A text to continue.

    Attributes:
        prompt: makes the text, with the chat template applied, in the model's thread: a template
            that takes long holds up nobody who does not wait for the model.
        how: much and how.
        schema: JSON schema that the answer must follow; None for free text.
    """

    prompt: Callable[[], str]
    how: Writing
    schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class WholeAnswer:
    """A whole answer: see `Generation`; ``num_prompt`` is the prompt's tokens."""

    text: str
    num_tokens: int
    finished: bool
    num_prompt: int


Task: TypeAlias = Callable[[Callable[[], bool]], Iterator[T]]
"""What is done in the model's thread: pieces of an answer, for as long as it is told to go on."""
_END = object()


@dataclass
class _Job:
    task: Task[Any]
    deliver: Callable[[Any], None]
    cancelled: threading.Event = field(default_factory=threading.Event)


class Worker:
    """A runtime and the line before it. Use from one event loop.

    Args:
        runtime: closed by `close`.
        max_queue: callers that may wait.
        max_seconds: after so long an answer is cut.
    """

    def __init__(self, runtime: Runtime, *, max_queue: int, max_seconds: float) -> None:
        self.runtime = runtime
        self.max_queue = max_queue
        self.max_seconds = max_seconds
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._inside = 0

    @property
    def waiting(self) -> int:
        """Callers in the line, without the one who is answered."""
        return max(0, self._inside - 1)

    @property
    def full(self) -> bool:
        """Whether nobody more may wait."""
        return self._inside > self.max_queue

    def stream(self, order: Order) -> AsyncGenerator[str | WholeAnswer, None]:
        """Pieces of a text as they come, and at last the whole; see `run`."""
        return self.run(lambda should_continue: self._write(order, should_continue))

    async def run(self, task: Task[T]) -> AsyncGenerator[T, None]:
        """What a task yields, as it comes.

        Closing the iterator early stops the work.

        Raises:
            Busy: the line is full; raised before the first piece.
            Exception: as the task.
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
        """Stop working and free the model."""
        self._pool.shutdown(cancel_futures=True)
        self.runtime.close()

    @cached_property
    def _json_form(self) -> JsonForm:
        return JsonForm(self.runtime)

    def _leave(self, _: object) -> None:
        self._inside -= 1

    def _work(self, job: _Job) -> None:
        """In the model's thread: one answer."""
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
        except Exception as error:  # noqa: BLE001 - whoever waits is told, whatever it is
            job.deliver(error)
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
