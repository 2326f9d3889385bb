"""A model on disk: what every command hands on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = [
    "LFS_POINTER",
    "ModelFiles",
]


@dataclass(frozen=True)
class ModelFiles:
    """A model on disk.

    Attributes:
        name: as the user wrote it.
        kind: ``"gguf"`` (``path`` is the file) or ``"folder"`` (config, tokenizer, safetensors).
        path: where it is.
        sha256: of the weights: of the GGUF, or over the hashes of all weight files in name order;
            with an adapter, over both.
        adapter: a LoRA in llama.cpp's GGUF form that is computed beside the weights; None without.
    """

    name: str
    kind: Literal["gguf", "folder"]
    path: Path
    sha256: str
    adapter: Path | None = None


LFS_POINTER = b"version https://git-lfs"
"""How a file begins that stands for one which Git LFS has not fetched."""
