"""Rendering of conversations to prompts.

A chat template is an untrusted program that comes with the model. It runs in a child process
within `galenic.limits`; if it takes too long, the process is killed.
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
"""Allowed ratio of wall time to CPU time, for busy machines."""
START = 60
"""Time limit in seconds for the child process to start."""
LEAVE_OUT = "Use a model from a source that you trust, or ask it without its chat template."


def check_template(template: str, special_tokens: Mapping[str, str]) -> None:
    """Render one short question, so that a broken template is reported before it is needed.

    Raises:
        UserError: as in `render_chat`.
    """
    render_chat(template, [{"role": "user", "content": "Hello"}], dict(special_tokens))


def render_chat(
    template: str,
    messages: Sequence[Mapping[str, str]],
    special_tokens: Mapping[str, str],
    arguments: Mapping[str, Any] | None = None,
    day: date = date(2025, 1, 1),
) -> str:
    """Render a conversation, ending where the assistant's turn begins.

    A system message that the template refuses is prepended to the first user message.

    It may take `TEMPLATE_SECONDS`, and calls from several threads are serialized: do not call it
    from a thread that must stay responsive.

    Args:
        template: Jinja source as stored in model files.
        messages: dicts with ``role`` and ``content``.
        special_tokens: texts of ``bos_token``, ``eos_token`` and others by name.
        arguments: further template variables, such as ``enable_thinking``.
        day: date that the template gets as today.

    Raises:
        UserError: the template refuses the messages, is broken, or exceeds a limit of time,
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
    """Merge a leading system message into the first user message; None if there is none."""
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
    """The child process that renders; started on first use, and again after it was killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, template: str, names: Mapping[str, Any], day: date) -> dict[str, str]:
        """Render; the result has ``text``, or the reason: ``refused``, ``broken`` or ``limit``."""
        asked = {"template": template, "names": names, "most": TEMPLATE_OUTPUT}
        asked["day"] = day.isoformat()
        with self._lock:
            return self._exchange(json.dumps(asked).encode() + b"\n")

    def close(self) -> None:
        """Kill the process."""
        child, self._child = self._child, None
        if child is None or self._owner != os.getpid():
            return
        child.kill()
        child.communicate()

    def _exchange(self, line: bytes) -> dict[str, str]:
        child = self._started()
        try:
            answer, late = _talk(child, line, WALL * TEMPLATE_SECONDS)
        except BaseException:  # Ctrl-C: the next request must not get this unread answer
            self.close()
            raise
        if answer is None:
            self.close()
            return {"limit": "time" if late or _by_timer(child) else "death"}
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        """Return the running process, starting it if necessary."""
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
    """Send a line and read the reply (None if the process ended); also whether it timed out."""
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
    except OSError:  # the process ended before reading everything
        answered = b""
    finally:
        timer.cancel()
    return (json.loads(answered) if answered.endswith(b"\n") else None), late.is_set()


def _by_timer(child: subprocess.Popen[bytes]) -> bool:
    """Whether the process was ended by its CPU time limit."""
    import signal

    return child.returncode == -getattr(signal, "SIGPROF", 0)


_renderer = _Renderer()
atexit.register(_renderer.close)
