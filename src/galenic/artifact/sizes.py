"""What a manifest says of a model's size."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from galenic.models.checkpoint import Checkpoint
from galenic.models.folder import check_folder
from galenic.models.layers import count_parameters
from galenic.models.stream import count_stored_zeros

__all__ = ["count_stored", "weight_bytes"]


def count_stored(checkpoint: Checkpoint) -> dict[str, int]:
    """Parameters: total, embeddings, blocks, and how many of them are exactly zero."""
    zeros = count_stored_zeros(checkpoint)
    return {
        **asdict(count_parameters(checkpoint.shapes)),
        "zeros": zeros.total,
        "zeros_in_blocks": zeros.blocks,
    }


def weight_bytes(folder: Path) -> int:
    """Size of all weight files of a model folder."""
    return sum(file.stat().st_size for file in check_folder(folder))
