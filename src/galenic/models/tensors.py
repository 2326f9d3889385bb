"""Access tensors of safetensors files as memory-mapped arrays.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from galenic.errors import UserError
from galenic.limits import SAFETENSORS_HEADER, one_line
from galenic.models.files import LFS_POINTER
from galenic.strict_json import parse_object

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["StoredTensor", "list_tensors", "own_head", "read_table"]

BITS = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
"""Bits per value of each type."""
_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"}
MOST_DIMS = 32
"""Maximum dimensions of a tensor; the product of a million large sizes would take hours."""
ROWS = 4096  # rows compared at a time


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a safetensors file.

    Attributes:
        name: name in the file.
        shape: shape in PyTorch's order.
        dtype: safetensors type name, for example ``"BF16"``.
        num_bytes: stored size.
        file: the file that holds it.
        offset: offset of its first byte in the file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    num_bytes: int
    file: Path
    offset: int

    @property
    def is_floating(self) -> bool:
        """Whether its values are plain floating-point weights, not packed integers."""
        return self.dtype in _DTYPES

    def map(self) -> NDArray[Any]:
        """Map the values into memory; bfloat16 values are raw uint16, to be passed to `decode`.

        Raises:
            UserError: the type is not floating point, or the size does not match the shape.
        """
        if not self.is_floating:
            raise UserError(
                f"{self.file}: tensor {self.name} has the type {self.dtype}; {', '.join(_DTYPES)} "
                "can be read. Dequantize the model first."
            )
        import numpy as np

        kind = np.dtype(_DTYPES[self.dtype])
        if math.prod(self.shape) * kind.itemsize != self.num_bytes or 0 in self.shape:
            raise UserError(
                f"{self.file} is damaged: tensor {self.name} of shape {self.shape} has "
                f"{self.num_bytes} bytes."
            )
        return np.memmap(self.file, kind, "r", self.offset, self.shape)

    def check(self) -> None:
        """Raise UserError if the tensor cannot be mapped; see `map`."""
        self.map()

    def decode(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Convert values of the mapped array to float32."""
        import numpy as np

        if self.dtype == "BF16":  # the upper half of a float32
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32)


def list_tensors(files: Sequence[Path]) -> dict[str, StoredTensor]:
    """List the tensors of several weight files by name.

    Raises:
        UserError: as `read_table`, or two files have a tensor of the same name.
    """
    found: dict[str, StoredTensor] = {}
    for file in files:
        for name, tensor in read_table(file).items():
            if name in found:
                raise UserError(f"tensor {_short(name)} is in both {found[name].file} and {file}.")
            found[name] = tensor
    return found


def own_head(stored: Mapping[str, StoredTensor]) -> bool:
    """Whether the files hold an output head that differs from the embedding, so is not tied."""
    import numpy as np

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


def read_table(path: Path) -> dict[str, StoredTensor]:
    """Read and check the header of a safetensors file; return its tensors by name.

    Raises:
        UserError: the file is damaged, or its size differs from what the header describes.
    """
    size = path.stat().st_size
    with path.open("rb") as handle:
        start = handle.read(len(LFS_POINTER))
        if start == LFS_POINTER:
            raise UserError(f"{path} is a Git LFS pointer, not the file: run `git lfs pull`.")
        if len(start) < 8:
            raise UserError(f"{path} is not a safetensors file: it has only {size} bytes.")
        length = int(struct.unpack("<Q", start[:8])[0])
        if length > SAFETENSORS_HEADER:
            raise UserError(
                f"{path} is not a safetensors file: it begins with {start[:8]!r}. (A header may "
                f"have {SAFETENSORS_HEADER:,} bytes.)"
            )
        if 8 + length > size:
            raise _wrong_size(path, 8 + length, size)
        handle.seek(8)
        rows = parse_object(handle.read(length), str(path))
    told = rows.pop("__metadata__", None)
    if told is not None and not (isinstance(told, dict) and all(map(_is_text, told.values()))):
        raise _damaged(path, "its metadata are not texts")
    table = {name: _stored(path, name, row, 8 + length) for name, row in rows.items()}
    end = 8 + length
    for tensor in sorted(table.values(), key=lambda one: (one.offset, one.num_bytes)):
        if tensor.offset != end:
            raise _damaged(path, f"tensor {_short(tensor.name)} overlaps another or leaves a hole")
        end += tensor.num_bytes
    if end != size:
        raise _wrong_size(path, end, size)
    return table


def _stored(path: Path, name: str, row: Any, start: int) -> StoredTensor:
    """Check and convert one entry of the header."""
    given = row if isinstance(row, dict) else {}
    dtype, shape, place = given.get("dtype"), given.get("shape"), given.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _damaged(path, f"tensor {_short(name)} has the type {_short(dtype)}")
    if not _are_sizes(shape) or len(shape) > MOST_DIMS:
        raise _damaged(path, f"tensor {_short(name)} has the shape {_short(shape)}")
    if not _are_sizes(place) or len(place) != 2:
        raise _damaged(path, f"tensor {_short(name)} has the offsets {_short(place)}")
    num_bytes, bits = place[1] - place[0], math.prod(shape) * BITS[dtype]
    if 8 * num_bytes != bits:
        raise _damaged(
            path, f"tensor {_short(name)} of shape {_short(shape)} has {num_bytes} bytes"
        )
    return StoredTensor(name, tuple(shape), dtype, num_bytes, path, start + place[0])


def _are_sizes(given: Any) -> TypeGuard[list[int]]:
    return isinstance(given, list) and all(type(one) is int and 0 <= one < 1 << 63 for one in given)


def _is_text(given: Any) -> bool:
    return isinstance(given, str)


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path} is damaged: {why}. Download it again.")


def _wrong_size(path: Path, needed: int, size: int) -> UserError:
    what = "truncated" if needed > size else "damaged"
    return UserError(
        f"{path} is {what}: its header describes {needed:,} bytes, the file has {size:,}. "
        "Download it again."
    )


def _short(value: Any) -> str:
    """Shorten a name or value from the file for an error message."""
    return one_line(repr(value), 80)
