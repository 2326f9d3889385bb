"""Choose the number of compute threads by the current load of the machine."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from galenic.errors import UserError

__all__ = ["asked_threads", "choose_threads", "fixed_threads"]

_SAMPLE_SECONDS = 0.2
_IDLE_NOISE = 0.3  # background load in cores that is ignored: it does not slow a thread down


_fixed: list[int] = []


@contextmanager
def fixed_threads(threads: int | None) -> Iterator[None]:
    """Context manager in which `choose_threads` returns ``threads``; None has no effect."""
    if threads is None:
        yield
        return
    _fixed.append(threads)
    try:
        yield
    finally:
        _fixed.pop()


def choose_threads(cores: int | None = None, busy: float | None = None) -> int:
    """Number of threads for compute-bound work: the physical cores that other programs leave free.

    All threads of a matrix product wait for the slowest. With more threads than free cores, one
    shares its core with another program and delays the rest: on two cores with one busy process,
    two threads decode far slower than one.

    Args:
        cores: physical cores this process may use; None counts them.
        busy: load of other programs in cores; None measures it over 0.2 s.

    Returns:
        At least 1. A number set by `fixed_threads` or by the environment variable GALENIC_THREADS
        takes precedence.
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
    """Number of threads set by `fixed_threads` or by GALENIC_THREADS in the environment, or None.

    Raises:
        UserError: GALENIC_THREADS is not a whole number of at least 1.
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
