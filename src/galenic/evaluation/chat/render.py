"""Conversations as the text that a model continues.

A chat template is a program of whoever made the model. It runs in a process of its own, within
`galenic.limits`: one that takes too long is ended with its process, whatever it is doing.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import IO, Any, cast

from galenic.errors import UserError
from galenic.limits import (
    TEMPLATE_LENGTH,
    TEMPLATE_MEMORY,
    TEMPLATE_OUTPUT,
    TEMPLATE_SECONDS,
    one_line,
)

__all__ = ["check_template", "render_chat"]

WALL = 4
"""Seconds by the clock that a second of the processor may take on a busy machine."""
START = 60
"""Seconds in which the process must be ready."""
LEAVE_OUT = "Use a model from a source that you trust, or ask it without its chat template."


def check_template(template: str, special_tokens: Mapping[str, str]) -> None:
    """Render one short question, so that a broken template is known before anybody asks.

    Raises:
        UserError: as `render_chat`.
    """
    render_chat(template, [{"role": "user", "content": "Hello"}], dict(special_tokens))


def render_chat(
    template: str,
    messages: Sequence[Mapping[str, str]],
    special_tokens: Mapping[str, str],
    arguments: Mapping[str, Any] | None = None,
    day: date = date(2025, 1, 1),
) -> str:
    """Render a conversation that the assistant is to continue.

    A system message that the template refuses is put before the first message of the user.

    It may take `TEMPLATE_SECONDS`, and calls from several threads wait for each other: where
    others must not wait, call it from a thread that is there for it alone.

    Args:
        template: Jinja text as model files carry it.
        messages: ``role`` and ``content`` each.
        special_tokens: ``bos_token``, ``eos_token`` as the template names them.
        arguments: more that the template may use, such as ``enable_thinking``.
        day: what it takes for today.

    Raises:
        UserError: the template refuses the messages, is broken, or goes beyond a limit of time,
            memory or length.
    """
    if len(template) > TEMPLATE_LENGTH:
        raise _beyond(
            f"has {len(template):,} characters; a chat template may have {TEMPLATE_LENGTH:,}"
        )
    names = {**(arguments or {}), **special_tokens, "tools": None, "documents": None}
    names |= {"add_generation_prompt": True, "messages": [dict(one) for one in messages]}
    answer = _renderer.ask(template, names, day)
    merged = _without_system(messages)
    if "refused" in answer and merged is not None:
        second = _renderer.ask(template, {**names, "messages": merged}, day)
        answer = second if "text" in second else answer
    if "text" in answer:
        return answer["text"]
    if "refused" in answer:
        why = one_line(answer["refused"])
        raise UserError(f"the model's chat template refuses this conversation: {why}")
    if "limit" in answer:
        raise _beyond(LIMITS[answer["limit"]])
    raise UserError(
        f"the model's chat template is broken: {one_line(answer['broken'])}. "
        "Leave --chat-template out."
    )


def _without_system(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]] | None:
    """The messages with the system's before the first one of the user; None where none begins."""
    if [one["role"] for one in messages[:2]] != ["system", "user"]:
        return None
    first = {**messages[1], "content": f"{messages[0]['content']}\n\n{messages[1]['content']}"}
    return [first, *(dict(one) for one in messages[2:])]


LIMITS = {
    "length": f"writes more than the {TEMPLATE_OUTPUT:,} characters that are allowed",
    "memory": f"needs more than the {TEMPLATE_MEMORY >> 20:,} MiB of memory that are allowed",
    "time": f"does not end within the {TEMPLATE_SECONDS} seconds that are allowed",
    "death": "ended the process that rendered it",
}


def _beyond(why: str) -> UserError:
    return UserError(f"the model's chat template {why}. {LEAVE_OUT}")


class _Renderer:
    """One process that renders, started when first needed and again when it was ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, template: str, names: Mapping[str, Any], day: date) -> dict[str, str]:
        """The answer of the process: ``text``, ``refused``, ``broken`` or ``limit``."""
        asked = {"template": template, "names": names, "most": TEMPLATE_OUTPUT}
        asked["day"] = day.isoformat()
        with self._lock:
            return self._exchange(json.dumps(asked).encode() + b"\n")

    def close(self) -> None:
        """End the process."""
        child, self._child = self._child, None
        if child is None or self._owner != os.getpid():
            return
        child.kill()
        child.communicate()

    def _exchange(self, line: bytes) -> dict[str, str]:
        child = self._started()
        try:
            answer, late = _talk(child, line, WALL * TEMPLATE_SECONDS)
        except BaseException:  # Ctrl-C: an answer that nobody reads must not be taken for the next
            self.close()
            raise
        if answer is None:
            self.close()
            return {"limit": "time" if late or _by_timer(child) else "death"}
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        """The process, ready to be asked."""
        if self._child is not None and self._owner == os.getpid() and self._child.poll() is None:
            return self._child
        self.close()
        script = str(Path(__file__).with_name("child.py"))
        limits = [str(TEMPLATE_SECONDS), str(TEMPLATE_MEMORY)]
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-P", script, *limits],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise UserError(
                f"no process could be started to render the model's chat template: {error.strerror}"
            ) from error
        self._owner = os.getpid()
        if _talk(self._child, b"", START)[0] is None:
            self.close()
            raise UserError("the process that renders the model's chat template did not start.")
        return self._child


def _talk(
    child: subprocess.Popen[bytes], line: bytes, seconds: float
) -> tuple[dict[str, str] | None, bool]:
    """Say a line and read one; None where the process ended, and whether it was for the time."""
    late = threading.Event()

    def end() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    to, back = cast(IO[bytes], child.stdin), cast(IO[bytes], child.stdout)
    try:
        to.write(line)
        to.flush()
        answered = back.readline()
    except OSError:  # it ended before it had read all
        answered = b""
    finally:
        timer.cancel()
    return (json.loads(answered) if answered.endswith(b"\n") else None), late.is_set()


def _by_timer(child: subprocess.Popen[bytes]) -> bool:
    """Whether the process ended by its own limit of processor time."""
    import signal

    return child.returncode == -getattr(signal, "SIGPROF", 0)


_renderer = _Renderer()
atexit.register(_renderer.close)
