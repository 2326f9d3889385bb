"""Read a saved model folder back and check that it gives the same logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.models.checkpoint import open_checkpoint
from galenic.models.families import FAMILIES
from galenic.models.files import ModelFiles
from galenic.models.forward import embed, head_logits, run_block
from galenic.models.layers import Layout
from galenic.models.stream import open_stream, outer_names

__all__ = [
    "CHECKED_TOKENS",
    "TOLERANCE",
    "check_failed",
    "check_saved",
    "embed_check_tokens",
]

TOLERANCE = 1e-4
"""Largest accepted logit difference, relative to the largest logit. Half precision needs no larger
one: the expected logits are computed with weights already rounded to the stored type."""


CHECKED_TOKENS = 64


def embed_check_tokens(layout: Layout) -> tuple[Any, list[dict[str, Any]]]:
    """Embed `CHECKED_TOKENS` fixed pseudo-random tokens, equal for models of one vocabulary size.

    Returns:
        Hidden states and each block's keyword arguments, as `galenic.models.forward.embed`.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    vocabulary = layout.model.get_input_embeddings().weight.shape[0]
    tokens = torch.randint(vocabulary, (1, CHECKED_TOKENS), generator=generator)
    # The final norm may not be loaded yet, so it is skipped.
    name, norm = FAMILIES[layout.family].names.norm, layout.norm
    setattr(layout.decoder, name, torch.nn.Identity())
    try:
        return embed(layout, tokens)
    finally:
        setattr(layout.decoder, name, norm)


def check_saved(folder: Path, expected: Any) -> dict[str, float]:
    """Load a saved folder block by block with transformers and compare its logits.

    Args:
        folder: the saved model.
        expected: logits of the check tokens, shape (1, tokens, vocabulary), from the model in
            memory with its weights rounded to the stored type.

    Returns:
        ``logit_difference``: largest difference relative to the largest logit; ``tolerance``.

    Raises:
        UserError: a weight is not finite, a tensor is missing, unexpected or of the wrong shape,
            or the logits differ by more than `TOLERANCE`.
    """
    import torch

    try:
        stream = open_stream(open_checkpoint(ModelFiles(str(folder), "folder", folder, "")))
    except UserError as error:
        raise check_failed(f"it cannot be opened: {error}") from error
    layout = stream.layout
    _check_finite({name: layout.model.state_dict()[name] for name in outer_names(layout)})
    hidden, settings = embed_check_tokens(layout)
    with torch.no_grad():
        for index, kept in enumerate(settings):
            with stream.block(index) as block:
                _check_finite(block.module.state_dict(prefix=stream.prefix(index)))
                hidden = run_block(block, hidden, kept)
        found = head_logits(layout, hidden)
    difference = float((found - expected).abs().max() / expected.abs().max())
    if not difference <= TOLERANCE:  # also when it is not a number
        raise check_failed(
            f"its logits differ by {difference:.2g} of the largest from those in memory"
        )
    return {"logit_difference": difference, "tolerance": TOLERANCE}


def _check_finite(tensors: dict[str, Any]) -> None:
    import torch

    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise check_failed(f"{name} holds values that are not finite")


def check_failed(why: str) -> UserError:
    """Return the error for a saved folder that failed its check, with the reason."""
    return UserError(f"the model was not saved: after reading it back, {why}. Nothing was kept.")
