"""Quantized tensors between the walk over the blocks and the writing of the GGUF."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.compress.quantize.grid import PlannedMatrix
from galenic.compress.quantize.kquant import quantize_rows
from galenic.models.gguf_family import read_shape
from galenic.models.gguf_names import gguf_name, row_order
from galenic.models.gguf_write import DENSE_TYPES, SourceTensor, encode_dense

__all__ = ["KeptTensors"]


class KeptTensors:
    """Bytes of quantized tensors, on disk until the file is written.

    Args:
        folder: for the files.
        model: Hugging Face folder of the model, for its shape.
    """

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        described = json.loads((model / "config.json").read_bytes())
        self.shape = read_shape(described, str(model))
        self.read: dict[str, int] = {}  # rows given out so far, by GGUF name

    def name(self, module: str) -> str:
        """GGUF name of the weight of a module of the decoder."""
        return gguf_name(self.shape, f"model.{module}.weight")

    def put(self, module: str, matrices: list[PlannedMatrix]) -> None:
        """Keep a module's weight; matrices: its rows, in the order of transformers."""
        rows = np.concatenate([matrix.encode() for matrix in matrices])
        order = row_order(self.shape, f"model.{module}.weight")
        name = self.name(module)
        np.save(self.folder / f"{name}.npy", rows if order is None else rows[order])
        self.read[name] = 0

    def encode(self, tensor: SourceTensor, kind: str, rows: NDArray[np.float32]) -> NDArray[Any]:
        """The next rows of a tensor as bytes: kept ones as they are, others rounded plainly."""
        if tensor.name in self.read:
            start = self.read[tensor.name]
            self.read[tensor.name] = start + len(rows)
            kept = np.load(self.folder / f"{tensor.name}.npy", mmap_mode="r")
            return np.array(kept[start : start + len(rows)])
        if kind in DENSE_TYPES:
            return encode_dense(tensor, kind, rows)
        return quantize_rows(rows.reshape(-1, tensor.shape[-1]), kind)
