"""Parsing of flag values: sizes (``8GB``, ``1.5GiB``) and lists (``pubmedqa,medmcqa``)."""

from __future__ import annotations

import re

from galenic.errors import UserError

__all__ = [
    "about_time",
    "counted",
    "format_size",
    "format_threads",
    "format_time",
    "parse_size",
    "split_commas",
]

UNITS: dict[str, int] = {
    "": 1,
    "b": 1,
    **{
        f"{letter}{tail}": 1000**power
        for power, letter in enumerate("kmgt", 1)
        for tail in ("", "b")
    },
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
}
"""Lower-case unit to bytes: kB, MB, GB are powers of 1000, KiB, MiB, GiB powers of 1024."""


def parse_size(text: str, flag: str) -> int:
    """Parse a size, ignoring case, and return it in bytes.

    Args:
        text: a number and a unit, for example ``"90MB"``, ``"1.5 GiB"``, ``"8G"``, ``"4096"``.
        flag: name of the flag, for the message.

    Raises:
        UserError: it is not a size, or less than one byte.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*", text.lower())
    if found is None or found[2] not in UNITS:
        raise UserError(
            f"{flag} {text!r} is not a size. Give a number with kB, MB, GB, TB (powers of 1000) or "
            "KiB, MiB, GiB, TiB (powers of 1024), for example 8GB or 512MiB."
        )
    size = round(float(found[1]) * UNITS[found[2]])
    if size < 1:
        raise UserError(f"{flag} {text!r}: a size of at least one byte is needed.")
    return size


def format_size(num_bytes: float) -> str:
    """Format a size in powers of 1000 with three digits: ``"91.7 MB"``, ``"512 B"``."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= 0.9995 * size:
            value = num_bytes / size
            digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:.{digits}f} {unit}"
    return f"{num_bytes:.0f} B"


def about_time(seconds: float) -> str:
    """Format an estimate: ``40 seconds``, ``12 minutes``, ``2.5 hours``."""
    if seconds < 90:
        return f"{round(seconds, -1):.0f} seconds"
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"


def format_time(seconds: float) -> str:
    """Format a duration for readers: ``15 s``, ``4 min 5 s``, ``40 min``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10 and rest:
        return f"{minutes} min {rest} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def format_threads(number: int) -> str:
    """``1 thread``, ``2 threads``."""
    return counted(number, "thread", "threads")


def counted(number: int, one: str, several: str) -> str:
    """A number and the word that goes with it."""
    return f"{number} {one if number == 1 else several}"


def split_commas(value: object) -> object:
    """Split a comma-separated string into stripped, non-empty parts; return other values as is."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value
