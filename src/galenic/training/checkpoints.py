"""Folder of a training run: state, log, and the check that a resumed run is the same run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from galenic.cache import locked, replacing
from galenic.errors import UserError
from galenic.jsonl import append_jsonl

__all__ = ["LOG", "STATE", "TrainingFolder"]

STATE, LOG = "state.pt", "log.jsonl"


class TrainingFolder:
    """Folder from which an interrupted training run can be resumed.

    Args:
        path: path of the folder; created if missing.
        fingerprint: everything the result depends on; if it differs, the run is a different one.
        writes: whether this process writes to the folder (rank 0 only).
    """

    def __init__(self, path: Path, fingerprint: dict[str, Any], *, writes: bool = True) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.writes = writes

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Context that keeps other runs from writing to this folder."""
        self._check_kind()
        self.path.mkdir(parents=True, exist_ok=True)
        if not self.writes:
            yield
            return
        with locked(self.path / STATE):
            yield

    def open(self) -> dict[str, Any] | None:
        """Return the saved state of the run, or None if there is none yet.

        The log is truncated to its length at that state, since later steps will be repeated.

        Raises:
            UserError: the folder holds a different run, or something else.
        """
        path, log = self.path / STATE, self.path / LOG
        if not path.exists():
            if self.writes:
                log.unlink(missing_ok=True)  # the run was killed before its first save
            return None
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        before = state["fingerprint"]
        if before != self.fingerprint:
            keys = sorted({*before, *self.fingerprint})
            changed = [key for key in keys if before.get(key) != self.fingerprint.get(key)]
            raise UserError(
                f"{self.path} holds a run with other settings ({', '.join(changed)}). Give "
                "another folder, or the settings it was begun with."
            )
        if self.writes and log.exists():
            with log.open("r+b") as handle:
                handle.truncate(state["log_bytes"])
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Write the state atomically."""
        if not self.writes:
            return
        log = self.path / LOG
        size = log.stat().st_size if log.exists() else 0
        with replacing(self.path / STATE) as part:
            torch.save({**state, "fingerprint": self.fingerprint, "log_bytes": size}, part)

    def note(self, row: dict[str, Any]) -> None:
        """Append a row to the log."""
        if self.writes:
            append_jsonl(self.path / LOG, [row])

    def _check_kind(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise UserError(f"{self.path} is not a folder. Give another one.")
        found = {file.name for file in self.path.iterdir() if not file.name.startswith(".")}
        if found and not found & {STATE, LOG}:
            raise UserError(f"{self.path} holds other files. Give an empty folder.")
