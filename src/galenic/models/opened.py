"""Opening a model as the user named it, for changing it."""

from __future__ import annotations

from dataclasses import replace

from galenic.models.checkpoint import Checkpoint, open_checkpoint
from galenic.models.files import ModelFiles
from galenic.models.text_part import text_part

__all__ = ["open_model"]


def open_model(files: ModelFiles) -> Checkpoint:
    """Open a model; of one that reads images too, its text model.

    Args:
        files: the model as the user named it, whichever form it has.

    Raises:
        UserError: as `galenic.models.checkpoint.open_checkpoint` and
            `galenic.models.text_part.text_part`.
    """
    return replace(open_checkpoint(text_part(files)), files=files)
