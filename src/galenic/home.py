"""The assistant's private folder: the index and histories, readable by the user only."""

from __future__ import annotations

import os
from pathlib import Path

from galenic.errors import UserError

__all__ = ["INDEX", "assistant_folder", "index_path", "kept_files", "make_private", "purge"]

INDEX = "index.sqlite"
_KEPT = (f"{INDEX}*", f".{INDEX}.lock", "history*")
"""Patterns of the files that the assistant writes. Nothing else in its folder is deleted."""


def assistant_folder() -> Path:
    """Return the assistant's folder, which may not exist yet.

    It lies in the user's data folder (``platformdirs``), or in what the environment variable
    ``GALENIC_HOME`` names.
    """
    import platformdirs

    given = os.environ.get("GALENIC_HOME")
    root = Path(given).expanduser() if given else Path(platformdirs.user_data_dir("galenic"))
    return root.absolute() / "assistant"


def index_path() -> Path:
    """Return the default path of the index."""
    return assistant_folder() / INDEX


def make_private(path: Path) -> None:
    """Create an empty file with mode 0600 if missing; a new parent folder gets mode 0700.

    An existing file with wider permissions is restricted to 0600.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise UserError(
            f"cannot write to {path}: {error.strerror}. Set the environment variable GALENIC_HOME "
            "to a folder that can be written to."
        ) from error


def kept_files() -> list[Path]:
    """Return the existing files of the assistant, sorted by name."""
    folder = assistant_folder()
    found = {path for pattern in _KEPT for path in folder.glob(pattern)}
    inner = {file for path in found if _is_folder(path) for file in path.rglob("*")}
    return sorted(path for path in found | inner if not _is_folder(path))


def purge() -> list[tuple[Path, int]]:
    """Delete the index and all histories; return the deleted paths with sizes in bytes.

    Of a symbolic link only the link is deleted.

    Raises:
        UserError: a file cannot be deleted.
    """
    gone = []
    for path in kept_files():
        try:
            size = path.lstat().st_size
            path.unlink()
        except OSError as error:
            raise UserError(f"{path} cannot be deleted: {error.strerror}.") from error
        gone.append((path, size))
    folder = assistant_folder()
    histories = [path for path in folder.glob("history*") if _is_folder(path)]
    inner = [path for history in histories for path in history.rglob("*") if _is_folder(path)]
    ours = [folder] if _is_folder(folder) and set(folder.iterdir()) <= set(histories) else []
    for path in [*sorted([*histories, *inner], reverse=True), *ours]:
        try:
            path.rmdir()
        except OSError as error:
            raise UserError(f"{path} cannot be deleted: {error.strerror}.") from error
    return gone


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
