"""Model sizes for the manifest."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from galenic.models.checkpoint import Checkpoint
from galenic.models.folder import check_folder
from galenic.models.layers import count_parameters
from galenic.models.stream import count_stored_zeros

__all__ = ["count_stored", "weight_bytes"]


def count_stored(checkpoint: Checkpoint) -> dict[str, int]:
    """Count parameters (total, embeddings, blocks) and those that are exactly zero."""
    zeros = count_stored_zeros(checkpoint)
    return {
        **asdict(count_parameters(checkpoint.shapes)),
        "zeros": zeros.total,
        "zeros_in_blocks": zeros.blocks,
    }


def weight_bytes(folder: Path) -> int:
    """Total size in bytes of the weight files of a model folder."""
    return sum(file.stat().st_size for file in check_folder(folder))
