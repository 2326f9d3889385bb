"""The error shown to users; its message says what was given, what is allowed, what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["Terminated", "UserError", "is_panic", "no_room", "unknown_name"]


class UserError(Exception):
    """An error the user can fix. The command line prints its message and exits with status 2."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: cleans up as Ctrl-C does, but nothing goes on after it."""


def no_room(message: str) -> UserError:
    """Build the error for a disk that is known to be too small before anything is written.

    Its cause is the system's error for a full disk, and so the command ends with the same status.
    """
    error = UserError(message)
    error.__cause__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return error


def is_panic(error: BaseException) -> bool:
    """Whether an exception is the panic of a library in Rust (tokenizers, safetensors, llguidance).

    Such panics are no ``Exception``, but derive from ``BaseException``:
    https://pyo3.rs/main/doc/pyo3/panic/struct.panicexception
    """
    return type(error).__name__ == "PanicException"


def unknown_name(kind: str, given: str, known: Iterable[str]) -> UserError:
    """Build the error for a name that is not in a list, with the nearest names first.

    Args:
        kind: what the name should have been, for example ``"benchmark"``.
        given: the name as the user wrote it.
        known: every name that would have been accepted.
    """
    names = sorted(known)
    near = get_close_matches(given.lower(), names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return UserError(f"unknown {kind} {given!r}.{hint} Known: {', '.join(names)}.")
