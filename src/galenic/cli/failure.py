"""The last line of defence: whatever goes wrong becomes one line, a status and a private log file.

The statuses are those of sysexits.h where one fits
(https://man.openbsd.org/sysexits): 2 is a mistake in use, 130 is Ctrl-C,
143 is SIGTERM.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import SQLITE_FULL

from galenic.cli.output import is_verbose
from galenic.errors import UserError
from galenic.limits import MESSAGE, escaped, one_line

__all__ = ["STOPPED", "TERMINATED", "USAGE", "Failure", "end_with", "explain", "status_of"]

USAGE, DATA, INTERNAL, SYSTEM, CANNOT_CREATE, IO = 2, 65, 70, 71, 73, 74
STOPPED, TERMINATED = 130, 143
EXTRAS = {
    **dict.fromkeys(("torch", "transformers", "peft", "accelerate", "safetensors"), "train"),
    "tokenizers": "train",
    "bitsandbytes": "train,bnb",
    "auto_round": "train,auto-round",
    "flwr": "train,federated",
    "ray": "ray",
    "datasets": "hub",
    "huggingface_hub": "hub",
}
"""Package that may be missing, and the extra of Galenic that brings it."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_ALLOWED = (errno.EROFS, errno.EACCES, errno.EPERM)
TOO_MANY = (errno.EMFILE, errno.ENFILE)
NO_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EEXIST)
NO_HOME = "Could not determine home directory."
"""The RuntimeError that `Path.expanduser` raises."""
LOOP = "Symlink loop from "
"""How the RuntimeError begins that `Path.resolve` raises before Python 3.13."""


class Failure:
    """The error message for an exception.

    Args:
        what: what happened, without a full stop.
        do: what the user can do, as a sentence.
        status: with which the process ends.
        logged: whether the traceback is worth a log file.
    """

    def __init__(self, what: str, do: str, status: int, logged: bool = True) -> None:
        self.what, self.do, self.status, self.logged = what, do, status, logged


def explain(error: BaseException) -> Failure:
    """Say what an exception that nobody caught means to the user."""
    missing = _missing_extra(error)
    if missing is not None:
        return missing
    if _is_no_memory(error):
        do = "Close other programs, or take a smaller model, fewer threads or a shorter context."
        return Failure("there is not enough memory", do, SYSTEM)
    if (of_input := _of_input(error)) is not None:
        return of_input
    if (of_system := _system_error(error)) is not None:
        return _of_system(of_system)
    what = f"{type(error).__name__}: {one_line(str(error))}".rstrip(": ")
    return Failure(
        what, "This is a fault of Galenic: please report it with the log file.", INTERNAL
    )


def _of_input(error: BaseException) -> Failure | None:
    """What an exception of Python says about the input; None if it is of another kind."""
    if isinstance(error, RecursionError):
        return Failure("the input is nested too deeply", "Check where it comes from.", DATA)
    if isinstance(error, UnicodeError):
        what = f"text that is not valid Unicode ({one_line(str(error))})"
        return Failure(what, "Write it as UTF-8 and try again.", DATA)
    if isinstance(error, RuntimeError) and str(error) == NO_HOME:
        what = "a path begins with ~ and names no home folder of this machine"
        return Failure(what, "Write the whole path.", USAGE, logged=False)
    return None


def status_of(error: UserError) -> int:
    """With what a mistake of the user ends: 2, or what the system error behind it says."""
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in (*NO_ROOM, *NOT_ALLOWED, *TOO_MANY):
            return _of_system(one).status
        if isinstance(one, sqlite3.Error) and one.__dict__.get("sqlite_errorcode") == SQLITE_FULL:
            return IO
        if _is_no_memory(one):
            return SYSTEM
    return USAGE


def end_with(error: BaseException, command: str) -> int:
    """Print the one line of an exception; the status to end with.

    Args:
        error: the exception.
        command: what was being done, such as ``galenic prune``.
    """
    failure = explain(error)
    line = f"error: {command}: {failure.what}. {failure.do}"
    if failure.logged:
        log = _write_log(error, command)
        line += f" Details: {log}" if log else " (The details could not be written to a file.)"
    if is_verbose():
        sys.stderr.write(escaped("".join(traceback.format_exception(error))))
    sys.stderr.write(line.encode("utf-8", "replace").decode() + "\n")
    return failure.status


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(MESSAGE):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__


def _missing_extra(error: BaseException) -> Failure | None:
    for one in _chain(error):
        name = (one.name or "").partition(".")[0] if isinstance(one, ImportError) else ""
        if name in EXTRAS and isinstance(one, ModuleNotFoundError):
            return Failure(
                f"this needs the package {name}, which is not installed",
                f"Run: pip install 'galenic[{EXTRAS[name]}]'.",
                USAGE,
                logged=False,
            )
    return None


def _system_error(error: BaseException) -> OSError | None:
    """The error of the system that an exception is, or stands for."""
    if isinstance(error, RuntimeError) and str(error).startswith(LOOP):
        path = str(error).removeprefix(LOOP).strip("'")
        return OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    return error if isinstance(error, OSError) else None


def _is_no_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _of_system(error: OSError) -> Failure:
    name = one_line(str(error.filename)) if error.filename is not None else ""
    why = (error.strerror or one_line(str(error)) or type(error).__name__).lower()
    what = f"{name}: {why}" if name else why
    if error.errno in NO_ROOM:
        return Failure(what, "Make room on the disk, or name another folder.", IO)
    if error.errno in NOT_ALLOWED:
        return Failure(what, "Name a file or folder that you may read and write.", CANNOT_CREATE)
    if error.errno in TOO_MANY:
        return Failure(what, "Raise the limit on open files (ulimit -n) and try again.", SYSTEM)
    if error.errno == errno.ENOENT and name.endswith(".part"):  # see `galenic.cache.replacing`
        what = f"{Path(name).parent}: no file or folder can be made there"
    if error.errno in (errno.ENOENT, *NO_NAME):
        logged = error.errno == errno.ENOENT  # may be a fault of ours
        return Failure(what, "Name another file or folder.", USAGE, logged=logged)
    return Failure(what, "Check the file, folder or disk and try again.", IO)


def _write_log(error: BaseException, command: str) -> Path | None:
    """The traceback in a file that only the user can read; None where no folder takes it."""
    import platformdirs

    given = os.environ.get("GALENIC_CACHE")
    folder = Path(given or platformdirs.user_log_dir("galenic"))
    with suppress(RuntimeError):  # ~ names no home folder
        folder = folder.expanduser()
    now = datetime.now(UTC)
    path = folder / "errors" / f"{now:%Y%m%d-%H%M%S}-{os.getpid()}.log"
    text = f"{now.isoformat()} {command}\n" + "".join(traceback.format_exception(error))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return None
    return path
