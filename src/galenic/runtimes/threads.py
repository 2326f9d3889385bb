"""How many threads to compute with, from what the machine is doing right now."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from galenic.errors import UserError

__all__ = ["asked_threads", "choose_threads", "fixed_threads"]

_SAMPLE_SECONDS = 0.2
_IDLE_NOISE = 0.3  # cores' worth of load that every desktop has and that costs a thread nothing


_fixed: list[int] = []


@contextmanager
def fixed_threads(threads: int | None) -> Iterator[None]:
    """Within it, `choose_threads` gives this number; None changes nothing."""
    if threads is None:
        yield
        return
    _fixed.append(threads)
    try:
        yield
    finally:
        _fixed.pop()


def choose_threads(cores: int | None = None, busy: float | None = None) -> int:
    """Threads for a compute-bound loop: the physical cores that nobody else is using.

    The threads of one matrix product wait for the slowest of them. With a thread more than there
    are free cores, that one shares its core with another program and all others wait for it: on
    two cores beside one busy process, two threads decode far slower than one.

    Args:
        cores: physical cores this process may use; counted when None.
        busy: cores' worth of load from other programs; measured over 0.2 s when None.

    Returns:
        At least 1; what `fixed_threads` or the environment variable GALENIC_THREADS says, if
        one of them says something.
    """
    if given := asked_threads():
        return given
    if cores is None:
        cores = _usable_cores()
    if busy is None:
        logical = psutil.cpu_count() or 1
        busy = psutil.cpu_percent(interval=_SAMPLE_SECONDS) / 100 * logical
    return max(1, cores - math.ceil(max(0.0, busy - _IDLE_NOISE)))


def asked_threads() -> int | None:
    """What `fixed_threads` or the environment variable GALENIC_THREADS says; None without.

    Raises:
        UserError: it is no whole number of at least 1.
    """
    if _fixed:
        return _fixed[-1]
    given = os.environ.get("GALENIC_THREADS")
    return _number(given) if given else None


def _number(given: str) -> int:
    if not given.isascii() or not given.isdigit() or int(given) < 1:
        raise UserError(f"GALENIC_THREADS={given}: a whole number of at least 1 is needed.")
    return int(given)


def _usable_cores() -> int:
    physical = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # absent on macOS and Windows
        return min(physical, len(os.sched_getaffinity(0)))
    return physical
