"""Description of a model on disk, passed between all commands."""

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
        sha256: hash of the GGUF; for a split GGUF or a folder, a hash over the hashes of all weight
            files in name order; with an adapter, a hash over those of model and adapter.
        adapter: LoRA in llama.cpp's GGUF format that is applied at run time; None for none.
    """

    name: str
    kind: Literal["gguf", "folder"]
    path: Path
    sha256: str
    adapter: Path | None = None


LFS_POINTER = b"version https://git-lfs"
"""First bytes of a Git LFS pointer file, a placeholder for a file that was not downloaded."""
