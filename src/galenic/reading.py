"""Find files by the ends of their names, and read whole files of limited size.

A device or a named pipe is an error, not an endless wait. Ends of names count in either case: some
programs write `MODEL.GGUF`. Names that a format fixes (`config.json`, `model.safetensors`) are
compared as they are, as do the libraries that read these folders.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

__all__ = ["TooLargeError", "files_in", "has_suffix", "read_file"]

PIECE = 1 << 20
"""Bytes that are read at once from what does not state its size."""
OWN = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")
"""Beginnings of paths of this process's own open files, as the shell gives them for ``<(...)``."""


class TooLargeError(OSError):
    """Raised for a file of more bytes than are allowed."""


def has_suffix(name: str | Path, *suffixes: str) -> bool:
    """Whether a file name ends in one of these, in upper or lower case.

    Args:
        name: name or path of a file.
        suffixes: in lower case with the dot, such as ``.gguf`` or ``.jsonl.gz``.
    """
    return str(name).lower().endswith(suffixes)


def files_in(folder: Path, *suffixes: str, below: bool = False) -> list[Path]:
    """List a folder's files whose names end so, in upper or lower case, sorted; no hidden ones.

    Args:
        folder: where to look.
        suffixes: as for `has_suffix`.
        below: also look in all folders below.
    """
    found = folder.rglob("*") if below else folder.glob("*")
    named = (p for p in found if has_suffix(p.name, *suffixes) and not p.name.startswith("."))
    return sorted(path for path in named if path.is_file())


def read_file(path: Path, most: int) -> bytes:
    """Read a file.

    The size that the system reports is not relied on: it is 0 for devices and pipes. A named pipe
    without a writer, or a device such as /dev/zero, would never end; only pipes of this process
    are read.

    Args:
        path: the file.
        most: maximum number of bytes.

    Raises:
        TooLargeError: the file is larger.
        OSError: it cannot be read, or is neither a regular file nor a pipe of this process.
    """
    status = path.stat()
    piped = stat.S_ISFIFO(status.st_mode) and str(path).startswith(OWN)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not (stat.S_ISREG(status.st_mode) or piped):
        raise OSError(errno.EINVAL, "it is a device or a named pipe, not a file", str(path))
    if status.st_size > most:
        raise _too_large(path, f"{status.st_size:,}", most)
    parts, room = [], most + 1
    with path.open("rb") as file:
        while room and (part := file.read(min(room, max(PIECE, status.st_size + 1)))):
            parts.append(part)
            room -= len(part)
    if not room:
        raise _too_large(path, f"more than {most:,}", most)
    return b"".join(parts)


def _too_large(path: Path, size: str, most: int) -> TooLargeError:
    return TooLargeError(errno.E2BIG, f"it has {size} bytes; {most:,} are allowed", str(path))
