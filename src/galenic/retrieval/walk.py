"""Selection of the files of a folder to index, with reasons for skipping others."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from galenic.retrieval.store import FileState

__all__ = ["FoundFile", "Walk", "read_file", "walk", "walk_one"]


@dataclass(frozen=True)
class FoundFile:
    """A file to read.

    Attributes:
        path: path relative to the folder, with ``/``.
        size: size in bytes.
        mtime_ns: modification time in nanoseconds.
    """

    path: str
    size: int
    mtime_ns: int


@dataclass
class Walk:
    """Result of searching a folder.

    Attributes:
        files: the files to read, sorted by name.
        skipped: number of skipped files and folders, by reason.
    """

    files: list[FoundFile] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def walk(folder: Path, suffixes: Iterable[str], max_bytes: int) -> Walk:
    """Find the files of a folder to index, recursively.

    Symbolic links are not followed: targets inside the folder are found under their own name, and
    targets outside were not requested.

    Args:
        folder: the folder to search.
        suffixes: suffixes of the files to index, in lower case, such as ``.pdf``.
        max_bytes: larger files are skipped.
    """
    result = Walk()
    known = frozenset(suffixes)
    root = folder.resolve()

    def failed(_: OSError) -> None:
        result.skipped["folders that cannot be read"] += 1

    for here, folders, names in os.walk(root, onerror=failed, followlinks=False):
        for name in sorted(folders):
            if reason := _unwanted(Path(here, name), root):
                folders.remove(name)
                result.skipped[reason] += 1
        folders.sort()
        for name in sorted(names):
            path = Path(here, name)
            if reason := _unwanted(path, root) or _look(path, known, max_bytes, root, result.files):
                result.skipped[reason] += 1
    return result


def walk_one(file: Path, suffixes: Iterable[str], max_bytes: int) -> Walk:
    """Check a single file as `walk` checks those of a folder.

    Args:
        file: path of the file.
        suffixes: suffixes of the files to index, in lower case, such as ``.pdf``.
        max_bytes: larger files are skipped.
    """
    result = Walk()
    if reason := _look(file, frozenset(suffixes), max_bytes, file.parent, result.files):
        result.skipped[reason] += 1
    return result


def _unwanted(path: Path, root: Path) -> str:
    """Return why a file or folder is skipped; empty if it is not."""
    if path.name.startswith("."):
        return "hidden"
    if path.is_symlink():
        try:
            inside = path.resolve().is_relative_to(root)
        except (OSError, RuntimeError):  # a link to itself
            return "links that lead nowhere"
        return "links within the folder" if inside else "links out of the folder"
    return ""


def _look(
    path: Path, suffixes: frozenset[str], max_bytes: int, root: Path, files: list[FoundFile]
) -> str:
    """Add a file to the list, or return why it is skipped."""
    if path.suffix.lower() not in suffixes:
        return f"other kinds of file ({path.suffix.lower()[:12] or 'no suffix'})"
    try:
        status = path.lstat()
        name = path.relative_to(root).as_posix()
        name.encode()
    except OSError:
        return "files that cannot be read"
    except UnicodeEncodeError:
        return "names that are not UTF-8"
    if not stat.S_ISREG(status.st_mode):
        return "not regular files"
    if status.st_size > max_bytes:
        return "too large"
    files.append(FoundFile(name, status.st_size, status.st_mtime_ns))
    return ""


def read_file(root: Path, name: str, max_bytes: int) -> tuple[FileState, bytes] | None:
    """Read a file; return its state and content.

    Args:
        root: the folder, with symbolic links resolved.
        name: path of the file relative to the folder.
        max_bytes: maximum size in bytes.

    Returns:
        The state and the content; None if the file cannot be read, has become a symbolic link, or
        has grown over the limit.
    """
    path = root / name
    if path.resolve() != path:
        return None
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            content = file.read(max_bytes + 1)
    except OSError:
        return None
    if len(content) > max_bytes:
        return None
    sha256 = hashlib.sha256(content).hexdigest()
    return FileState(name, status.st_size, status.st_mtime_ns, sha256), content
