"""The weights of safetensors files as arrays in mapped memory: nothing is read before it is used.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError

__all__ = ["StoredTensor", "list_tensors", "own_head"]

_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"}
ROWS = 4096  # compared at a time


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a safetensors file.

    Attributes:
        name: as transformers saves it.
        shape: in PyTorch's order.
        dtype: as the format calls it, for example ``"BF16"``.
        num_bytes: stored size.
        file: it is in.
        offset: of its first byte in the file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    num_bytes: int
    file: Path
    offset: int

    @property
    def is_floating(self) -> bool:
        """Whether its values are weights as they stand (not packed integers)."""
        return self.dtype in _DTYPES

    def map(self) -> NDArray[Any]:
        """Its values; bfloat16 as the 16-bit numbers that `decode` takes.

        Raises:
            UserError: its type is not a floating one, or its size does not fit its shape.
        """
        if not self.is_floating:
            raise UserError(
                f"{self.file}: tensor {self.name} has the type {self.dtype}; {', '.join(_DTYPES)} "
                "can be read. Dequantize the model first."
            )
        kind = np.dtype(_DTYPES[self.dtype])
        if math.prod(self.shape) * kind.itemsize != self.num_bytes or 0 in self.shape:
            raise UserError(
                f"{self.file} is damaged: tensor {self.name} of shape {self.shape} has "
                f"{self.num_bytes} bytes."
            )
        return np.memmap(self.file, kind, "r", self.offset, self.shape)

    def decode(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Values of the mapped array as float32."""
        if self.dtype == "BF16":  # the upper half of a float32
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32)


def list_tensors(files: Sequence[Path]) -> dict[str, StoredTensor]:
    """Every tensor of some weight files, by name; `check_folder` has found the files whole.

    Raises:
        UserError: a name stands in two files.
    """
    from gguf.utility import SafetensorsLocal

    found: dict[str, StoredTensor] = {}
    for file in files:
        for name, tensor in SafetensorsLocal(file).tensors.items():
            if name in found:
                raise UserError(f"tensor {name} stands in {found[name].file} and in {file}.")
            place, shape = tensor.data_range, tuple(tensor.shape)
            found[name] = StoredTensor(name, shape, tensor.dtype, place.size, file, place.offset)
    return found


def own_head(stored: Mapping[str, StoredTensor]) -> bool:
    """Whether a head is stored that differs from the embedding, whatever the configuration says."""
    head, embedding = stored.get("lm_head.weight"), stored.get("model.embed_tokens.weight")
    if head is None or embedding is None:
        return False
    if head.shape != embedding.shape:
        return True
    return any(
        not np.array_equal(
            head.decode(head.map()[at : at + ROWS]),
            embedding.decode(embedding.map()[at : at + ROWS]),
        )
        for at in range(0, head.shape[0], ROWS)
    )
