"""The assistant's own folder: what it keeps for the user, readable by nobody else."""

from __future__ import annotations

import os
from pathlib import Path

from galenic.errors import UserError

__all__ = ["INDEX", "assistant_folder", "index_path", "kept_files", "make_private", "purge"]

INDEX = "index.sqlite"
_KEPT = (f"{INDEX}*", f".{INDEX}.lock", "history*")
"""All that the assistant writes into its folder. Nothing else there is ever deleted."""


def assistant_folder() -> Path:
    """The folder, which may not be there yet.

    It lies in the user's data folder (``platformdirs``), or in what the environment variable
    ``GALENIC_HOME`` names.
    """
    import platformdirs

    given = os.environ.get("GALENIC_HOME")
    root = Path(given).expanduser() if given else Path(platformdirs.user_data_dir("galenic"))
    return root.absolute() / "assistant"


def index_path() -> Path:
    """Where the index lies when no other place is named."""
    return assistant_folder() / INDEX


def make_private(path: Path) -> None:
    """Make an empty file of mode 0600 where there is none, in a folder of mode 0700 if new.

    A file that is there already, with wider rights, gets the narrow ones.

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
    """The files that the assistant keeps now, in order of their names."""
    folder = assistant_folder()
    found = {path for pattern in _KEPT for path in folder.glob(pattern)}
    inner = {file for path in found if _is_folder(path) for file in path.rglob("*")}
    return sorted(path for path in found | inner if not _is_folder(path))


def purge() -> list[tuple[Path, int]]:
    """Delete the index and every history, and return what went, with sizes in bytes.

    Links are deleted, what they point to stays.

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
    for path in sorted([*histories, *inner], reverse=True):
        path.rmdir()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    return gone


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
