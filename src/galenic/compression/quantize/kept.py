"""Temporary storage of quantized tensors until the GGUF is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.compression.quantize.kquant import decode_rows, quantize_rows
from galenic.models.folder import config_json
from galenic.models.gguf.family import read_shape
from galenic.models.gguf.names import gguf_name, row_order
from galenic.models.gguf.write import DENSE_TYPES, SourceTensor, encode_dense

__all__ = ["KeptTensors"]

FILLED_ROWS = 4096


class KeptTensors:
    """Stores the bytes of quantized tensors on disk until the GGUF is written.

    Args:
        folder: folder for the temporary files.
        model: Hugging Face folder of the model, which determines its shape.
    """

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.shape = read_shape(config_json(model), str(model))
        self.read: dict[str, int] = {}  # number of rows read so far, by GGUF name

    def name(self, module: str) -> str:
        """Return the GGUF name of the weight of a module, given its name in the decoder."""
        return gguf_name(self.shape, f"{self.shape.family.names.decoder}.{module}.weight")

    def put(self, module: str, parts: Sequence[NDArray[np.uint8]]) -> None:
        """Store a module's weight; ``parts`` are the bytes of its rows in transformers' order."""
        rows = np.concatenate(parts)
        order = row_order(self.shape, f"{self.shape.family.names.decoder}.{module}.weight")
        self.put_rows(self.name(module), rows if order is None else rows[order])

    def put_rows(self, name: str, rows: NDArray[np.uint8]) -> None:
        """Store the bytes of a tensor, rows in GGUF order, shape (rows, bytes per row)."""
        np.save(self.folder / f"{name}.npy", rows)
        self.read[name] = 0

    def fill_(self, weight: Any, name: str, kind: str) -> None:
        """Replace a weight by its dequantized stored values; does nothing for dense types.

        Args:
            weight: float32 tensor of shape (rows, columns), changed in place.
            name: GGUF name of the tensor.
            kind: type of the tensor.
        """
        if kind in DENSE_TYPES:
            return
        import torch

        kept = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        with torch.no_grad():
            for start in range(0, len(kept), FILLED_ROWS):
                part = np.array(kept[start : start + FILLED_ROWS])
                weight[start : start + FILLED_ROWS].copy_(torch.from_numpy(decode_rows(part, kind)))

    def encode(self, tensor: SourceTensor, kind: str, rows: NDArray[np.float32]) -> NDArray[Any]:
        """Encode the next rows of a tensor: from storage, or rounded without importance."""
        if tensor.name in self.read:
            start = self.read[tensor.name]
            self.read[tensor.name] = start + len(rows)
            kept = np.load(self.folder / f"{tensor.name}.npy", mmap_mode="r")
            return np.array(kept[start : start + len(rows)])
        if kind in DENSE_TYPES:
            return encode_dense(tensor, kind, rows)
        return quantize_rows(rows.reshape(-1, tensor.shape[-1]), kind)
