"""The error shown to users; its message says what was given, what is allowed, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["UserError", "unknown_name"]


class UserError(Exception):
    """An error the user can fix. The command line prints its message and exits with status 2."""


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
