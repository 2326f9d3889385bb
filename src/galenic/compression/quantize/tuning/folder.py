"""What an unfinished tuning needs to go on: in ``.NAME.run`` beside the output.

Every file is written whole or not at all, and holds all that the following steps depend on, so that
a tuning that was killed ends with the same bytes as one that was not.
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
"""Seconds of steps that may have to be done again."""


class TuningFolder:
    """The folder of a run.

    Args:
        path: of it; made when missing.
        fingerprint: everything that the result depends on, as plain values.

    Raises:
        UserError: it holds a run with other settings.
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
        """Whether there is something to go on from."""
        return (self.path / UNTUNED).exists()

    def keep(self, file: Path) -> None:
        """Keep the file that is to be tuned."""
        with replacing(self.path / UNTUNED) as part:
            shutil.copyfile(file, part)

    def give_back(self, file: Path) -> None:
        """Write the file that is to be tuned."""
        shutil.copyfile(self.path / UNTUNED, file)

    def load(self, name: str) -> dict[str, Any] | None:
        """What was saved under a name; None: nothing yet."""
        path = self.path / f"{name}.pt"
        if not path.exists():
            return None
        found: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        return found

    def save(self, name: str, state: dict[str, Any]) -> None:
        """Write plain values and tensors."""
        with replacing(self.path / f"{name}.pt") as part:
            torch.save(state, part)
        self._saved = time.monotonic()

    def is_due(self) -> bool:
        """Whether the last save is long ago."""
        return time.monotonic() - self._saved >= SAVED_EVERY


@contextmanager
def tuning_folder(output: Path, fingerprint: dict[str, Any]) -> Iterator[TuningFolder]:
    """The folder of a run; gone when all went well, and where there is nothing to go on from."""
    folder = TuningFolder(output.with_name(f".{output.name}.run"), fingerprint)
    try:
        yield folder
    except UserError:
        if not folder.begun:
            shutil.rmtree(folder.path, ignore_errors=True)
        raise
    shutil.rmtree(folder.path)
