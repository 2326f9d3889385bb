"""The user's cache folder, atomic writing, file locks, and cached file hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from galenic.errors import UserError

__all__ = [
    "CHUNK",
    "Progress",
    "cache_folder",
    "file_sha256",
    "forget_changed",
    "is_leftover",
    "locked",
    "made_once",
    "note",
    "noted",
    "remember_sha256",
    "replacing",
    "write_atomically",
]

logger = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with a description of the step, bytes done, and bytes in total (0 = unknown)."""

CHUNK = 1 << 20
"""Bytes read at a time from large files."""
HASHES = "hashes.json"
MOST_NOTES = 1000
SILENT = 3.0
"""Seconds of waiting for another process after which it is said."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""``errno`` values for a full disk, an exceeded quota, and an exceeded file size limit."""


def cache_folder(*parts: str) -> Path:
    """Return a folder inside the cache, creating it if missing.

    The cache is the user's own (``platformdirs``), or what the environment variable
    ``GALENIC_CACHE`` names.

    Raises:
        UserError: the folder cannot be made or written to.
    """
    import platformdirs

    given = os.environ.get("GALENIC_CACHE")
    root = Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("galenic"))
    folder = root.joinpath(*parts).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error.strerror) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _cannot_write(folder, "permission denied") from PermissionError(
            errno.EACCES, "permission denied"
        )
    return folder


def _cannot_write(folder: Path, why: str | None) -> UserError:
    return UserError(
        f"cannot write to the cache folder {folder}: {why}. "
        "Set the environment variable GALENIC_CACHE to a folder that can be written to."
    )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, for writing a file or folder atomically.

    If the block succeeds, the result is flushed to disk and renamed to ``path``, replacing what
    was there; if it raises, the result is removed. So ``path`` is never left half-written.

    Raises:
        UserError: the disk is full.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        yield part
        for file in [part] if part.is_file() else part.rglob("*"):
            if file.is_file():
                _flush(file)
        if path.is_dir() and part.is_dir():
            shutil.rmtree(path)  # a folder cannot be renamed over another
        part.replace(path)
    except Exception as error:
        if _is_no_room(error):
            raise UserError(
                f"{path} was not written: the disk is full, or a quota or a limit on the size of "
                f"files is reached ({error}). Make room and try again."
            ) from error
        raise
    finally:
        _remove(part)


def write_atomically(path: Path, text: str) -> None:
    """Write a small UTF-8 text file; if writing fails, an existing file stays unchanged."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path``, waiting for other processes; remove leftovers.

    Leftovers are temporary files of `replacing` from killed processes; the holder of the lock may
    delete them, since nobody else writes ``path``.

    Raises:
        UserError: no file can be made in the folder of ``path``.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _check_takes_files(path, Path(lock.lock_file))
        try:
            lock.acquire(timeout=SILENT)
        except Timeout:
            logger.warning("%s is being written by another process: waiting for it", path)
            lock.acquire()
    try:
        _sweep(path)
        yield
    finally:
        lock.release()


def _check_takes_files(path: Path, lock: Path) -> None:
    """Refuse a folder in which the lock cannot be made: `filelock` would try again without end."""
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_RDWR, 0o644))
    except FileNotFoundError as error:
        raise UserError(
            f"{path} cannot be written: no file can be made in {path.parent}. Name another folder."
        ) from error


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Create a cache folder once: the first process makes it, others wait for that process.

    Args:
        folder: path of the folder.
        make: writes the folder at the temporary path that it is called with.
    """
    if folder.is_dir():
        return folder
    with locked(folder):
        if not folder.is_dir():  # another process may have written it meanwhile
            with replacing(folder) as part:
                make(part)
    return folder


def is_leftover(path: Path) -> bool:
    """Whether a path is a temporary one of `replacing`, which a killed process has left."""
    return re.fullmatch(r"\..+\.\d+-[0-9a-f]{8}\.part", path.name) is not None


def _sweep(path: Path) -> None:
    """Remove leftovers of ``path``, but not those of ``NAME.other``, which may be in use."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[^.]+\.part")
    for leftover in path.parent.iterdir():
        if ours.fullmatch(leftover.name):
            _remove(leftover)


def _is_no_room(error: Exception) -> bool:
    """Whether an error means no room; Rust libraries (safetensors) give errno only as text."""
    if isinstance(error, OSError):
        return error.errno in NO_ROOM
    return any(f"(os error {number})" in str(error) for number in NO_ROOM)


def _flush(file: Path) -> None:
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def file_sha256(path: Path, *, progress: Progress | None = None) -> str:
    """Return the SHA-256 of a file in hexadecimal, cached as long as the file is unchanged.

    Unchanged means equal size, mtime, inode and ctime: resetting the mtime changes the ctime.

    Raises:
        UserError: the file changes while it is being read.
    """
    before = _state(path)
    known = _read_hashes(cache_folder() / HASHES).get(str(path.resolve()))
    if isinstance(known, list) and known[:-1] == before:
        return str(known[-1])
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(f"checking {path.name}", done, before[0])
    if _state(path) != before:
        raise UserError(f"{path} changed while it was being read; try again once it is complete.")
    remember_sha256(path, digest.hexdigest())
    return digest.hexdigest()


def forget_changed(*, progress: Progress | None = None) -> dict[str, bool]:
    """Verify all cached hashes against the files, and drop those that no longer match.

    Args:
        progress: called while files are read.

    Returns:
        For each path, whether the file still has the cached hash.
    """
    table = cache_folder() / HASHES
    before = {
        name: str(row[-1])
        for name, row in _read_hashes(table).items()
        if isinstance(row, list) and row and Path(name).is_file()
    }
    with locked(table):
        write_atomically(table, "{}")
    return {
        name: file_sha256(Path(name), progress=progress) == known for name, known in before.items()
    }


def remember_sha256(path: Path, sha256: str) -> None:
    """Store the hash of a file in its current state, so that `file_sha256` need not read it."""
    table = cache_folder() / HASHES
    with locked(table):
        hashes = {name: row for name, row in _read_hashes(table).items() if Path(name).exists()}
        hashes[str(path.resolve())] = [*_state(path), sha256]
        write_atomically(table, json.dumps(hashes, indent=1, sort_keys=True))


def noted(table: str, key: str) -> bool:
    """Whether `note` has stored this key in this table."""
    return key in _read_notes(cache_folder() / table)


def note(table: str, key: str) -> None:
    """Record in the cache that a check has passed, so that it need not be repeated.

    Args:
        table: name of the cache file, one per kind of check.
        key: identifies what was checked, and the version of the check.
    """
    path = cache_folder() / table
    with locked(path):
        kept = [one for one in _read_notes(path) if one != key][-MOST_NOTES:]
        write_atomically(path, json.dumps([*kept, key], indent=1))


def _read_notes(table: Path) -> list[str]:
    try:
        found = json.loads(table.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # with a damaged table the check is only repeated
        return []
    return found if isinstance(found, list) and all(isinstance(key, str) for key in found) else []


def _state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns]


def _read_hashes(table: Path) -> dict[str, Any]:
    try:
        hashes = json.loads(table.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        logger.warning("%s is damaged; hashes are computed anew", table)
        return {}
    return hashes if isinstance(hashes, dict) else {}
