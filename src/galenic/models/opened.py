"""Open any supported model for modification."""

from __future__ import annotations

from dataclasses import replace

from galenic.models.checkpoint import Checkpoint, open_checkpoint
from galenic.models.files import ModelFiles
from galenic.models.text_part import text_part

__all__ = ["open_model"]


def open_model(files: ModelFiles) -> Checkpoint:
    """Open a model for modification; of a multimodal model, the text model.

    Args:
        files: the model as the user named it, in any supported form.

    Raises:
        UserError: as `galenic.models.checkpoint.open_checkpoint` and
            `galenic.models.text_part.text_part`.
    """
    return replace(open_checkpoint(text_part(files)), files=files)
