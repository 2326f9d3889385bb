"""State of an unfinished tuning, in the folder ``.NAME.run`` beside the output.

Files are written atomically and contain everything that later steps depend on, so a tuning that was
killed and resumed gives the same bytes as an uninterrupted one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from galenic.cache import replacing
from galenic.errors import UserError

__all__ = ["TuningFolder", "tuning_folder"]

UNTUNED, SETTINGS = "untuned.gguf", "settings"
SAVED_EVERY = 120.0
"""Seconds between saves while training scales; a killed run repeats at most about this much."""


class TuningFolder:
    """Folder with the state of an unfinished tuning.

    Args:
        path: path of the folder; created if missing.
        fingerprint: everything that the result depends on, as plain values.

    Raises:
        UserError: the folder holds a run with different settings.
    """

    def __init__(self, path: Path, fingerprint: dict[str, Any]) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        before = self.load(SETTINGS)
        if before is None:
            self.save(SETTINGS, fingerprint)
        elif before != fingerprint:
            keys = sorted({*before, *fingerprint})
            changed = [key for key in keys if before.get(key) != fingerprint.get(key)]
            raise UserError(
                f"{path} holds an unfinished run with other settings ({', '.join(changed)}). "
                "Delete it, give another output, or the settings it was begun with."
            )
        self._saved = time.monotonic()

    @property
    def begun(self) -> bool:
        """Whether there is a run to resume."""
        return (self.path / UNTUNED).exists()

    def keep(self, file: Path) -> None:
        """Save a copy of the untuned GGUF."""
        with replacing(self.path / UNTUNED) as part:
            shutil.copyfile(file, part)

    def give_back(self, file: Path) -> None:
        """Copy the saved untuned GGUF to ``file``."""
        shutil.copyfile(self.path / UNTUNED, file)

    def load(self, name: str) -> dict[str, Any] | None:
        """Load the state saved under a name; None if there is none."""
        path = self.path / f"{name}.pt"
        if not path.exists():
            return None
        found: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        return found

    def save(self, name: str, state: dict[str, Any]) -> None:
        """Save plain values and tensors under a name."""
        with replacing(self.path / f"{name}.pt") as part:
            torch.save(state, part)
        self._saved = time.monotonic()

    def is_due(self) -> bool:
        """Whether the last save is at least `SAVED_EVERY` seconds ago."""
        return time.monotonic() - self._saved >= SAVED_EVERY


@contextmanager
def tuning_folder(output: Path, fingerprint: dict[str, Any]) -> Iterator[TuningFolder]:
    """Context with the folder of a run; deleted on success, or if there is nothing to resume."""
    folder = TuningFolder(output.with_name(f".{output.name}.run"), fingerprint)
    try:
        yield folder
    except UserError:
        if not folder.begun:
            shutil.rmtree(folder.path, ignore_errors=True)
        raise
    shutil.rmtree(folder.path)
