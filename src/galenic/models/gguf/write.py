"""Write a GGUF; tensors are read, encoded and written a few rows at a time.

A `GgufSource` describes the content of the file, and `write_gguf` writes it with the given types.
Sources are made from a Hugging Face folder by `galenic.models.gguf.folder`, and from another GGUF
by `galenic.models.gguf.copy`.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from galenic.cache import replacing
from galenic.errors import UserError, no_room, unknown_name

if TYPE_CHECKING:
    from gguf import GGUFWriter

__all__ = [
    "DENSE_TYPES",
    "Encode",
    "GgufSource",
    "SourceTensor",
    "dense_types",
    "encode_dense",
    "header_bytes",
    "stored_bytes",
    "write_gguf",
]

DENSE_TYPES = ("F32", "F16", "BF16")
"""Types that `encode_dense` supports."""
CHUNK_VALUES = 1 << 22
"""Values held at once while a tensor is written (16 MB as float32)."""

Encode: TypeAlias = "Callable[[SourceTensor, str, NDArray[np.float32]], NDArray[Any]]"
"""Encodes rows of a tensor as a ggml type: ``encode(tensor, type, rows)``."""


@dataclass(frozen=True)
class SourceTensor:
    """A tensor to be written.

    Attributes:
        name: name in the file, for example ``"blk.0.attn_q.weight"``.
        shape: shape in PyTorch's order: ``(rows, columns)`` or ``(size,)``.
        read: ``read(start, stop)`` returns rows (values of a vector) as float32.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[int, int], NDArray[np.float32]]


@dataclass(frozen=True)
class GgufSource:
    """The content of a GGUF to be written.

    Attributes:
        name: where the weights come from, for error messages.
        architecture: llama.cpp's name of the architecture.
        describe: function that writes all other metadata to a ``GGUFWriter``.
        tensors: tensors in the order in which they are written.
    """

    name: str
    architecture: str
    describe: Callable[[GGUFWriter], None]
    tensors: tuple[SourceTensor, ...]


def stored_bytes(shape: tuple[int, ...], type_name: str) -> int:
    """Size in bytes of a tensor stored as a ggml type.

    Raises:
        UserError: the type is unknown, or the row length is not a multiple of its block size.
    """
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    if type_name not in GGMLQuantizationType.__members__:
        raise unknown_name("tensor type", type_name, GGMLQuantizationType.__members__)
    block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[type_name]]
    if shape[-1] % block:
        raise UserError(
            f"a tensor of shape {shape} cannot be stored as {type_name}: its rows have "
            f"{shape[-1]} values, and a block of {type_name} has {block}."
        )
    return int(math.prod(shape) // block * block_bytes)


def dense_types(source: GgufSource, type_name: str) -> dict[str, str]:
    """Assign one dense type to every matrix; vectors (norms, biases, rotary factors) stay F32.

    Raises:
        UserError: the type is not one of `DENSE_TYPES`.
    """
    if type_name not in DENSE_TYPES:
        raise unknown_name("dense tensor type", type_name, DENSE_TYPES)
    return {t.name: type_name if len(t.shape) > 1 else "F32" for t in source.tensors}


def encode_dense(tensor: SourceTensor, type_name: str, rows: NDArray[np.float32]) -> NDArray[Any]:
    """Encode rows as one of `DENSE_TYPES`, rounding to nearest.

    Raises:
        UserError: a value is too large for F16.
    """
    from gguf import GGMLQuantizationType, quants

    with np.errstate(over="ignore"):  # reported below
        encoded: NDArray[Any] = quants.quantize(rows, GGMLQuantizationType[type_name])
    if type_name == "F16" and not np.isfinite(encoded).all():
        raise UserError(
            f"tensor {tensor.name} has values up to {np.abs(rows).max():g}, and F16 ends at 65504. "
            "Write BF16 or F32 instead."
        )
    return encoded


def write_gguf(
    source: GgufSource,
    target: Path,
    types: Mapping[str, str],
    *,
    encode: Encode = encode_dense,
) -> None:
    """Write a GGUF under a temporary name and rename it when complete.

    Args:
        source: metadata and tensors.
        target: file to write; an existing one is replaced.
        types: ggml type of every tensor, by name.
        encode: function that encodes rows.

    Raises:
        UserError: a type is missing or does not fit its tensor, disk space is short, or a weight
            is not finite. ``target`` is then left as it was.
    """
    sizes = _sizes(source, types)
    if not target.parent.is_dir():
        raise UserError(f"there is no folder {target.parent} to write {target.name} into.")
    free = shutil.disk_usage(target.parent).free
    if sum(sizes.values()) * 1.02 > free:
        raise no_room(
            f"{target} takes {sum(sizes.values()) / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free. "
            "Make room, or name a folder on another disk."
        )
    with replacing(target) as part:
        _write(source, part, types, sizes, encode)


def header_bytes(source: GgufSource) -> int:
    """Upper bound of a file's size without tensor data: metadata, tensor table and padding."""
    from gguf import GGUF_DEFAULT_ALIGNMENT

    types = dict.fromkeys((tensor.name for tensor in source.tensors), "Q8_0")
    bare = replace(source, tensors=())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "header.gguf"
        _write(bare, path, types, dict.fromkeys(types, 1), encode_dense)
        size = path.stat().st_size
    # table row: length of the name, name, number of dimensions, dimensions, type, offset
    table = sum(len(t.name.encode()) + 8 + 4 + 8 * len(t.shape) + 4 + 8 for t in source.tensors)
    return int(size + table + GGUF_DEFAULT_ALIGNMENT * (len(source.tensors) + 1))


def _sizes(source: GgufSource, types: Mapping[str, str]) -> dict[str, int]:
    names = {tensor.name for tensor in source.tensors}
    if names != set(types):
        odd = sorted(names ^ set(types))
        raise UserError(
            f"the types asked for do not match the tensors of {source.name}: {len(odd)} names are "
            f"only in one of the two, for example {', '.join(odd[:3])}."
        )
    return {
        tensor.name: stored_bytes(tensor.shape, types[tensor.name]) for tensor in source.tensors
    }


def _write(
    source: GgufSource,
    path: Path,
    types: Mapping[str, str],
    sizes: Mapping[str, int],
    encode: Encode,
) -> None:
    from gguf import GGUF_DEFAULT_ALIGNMENT, GGMLQuantizationType, GGUFWriter

    writer = GGUFWriter(path, source.architecture)
    writer.data_alignment = GGUF_DEFAULT_ALIGNMENT
    try:
        source.describe(writer)
        _add_file_type(writer, types, sizes)
        for tensor in source.tensors:
            kind = GGMLQuantizationType[types[tensor.name]]
            size = sizes[tensor.name]
            writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), size, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in source.tensors:
            stream = _Stream(tensor, types[tensor.name], sizes[tensor.name], encode)
            writer.write_tensor_data(stream)
    finally:
        writer.close()


def _add_file_type(writer: GGUFWriter, types: Mapping[str, str], sizes: Mapping[str, int]) -> None:
    """Write the file type: the tensor type with most bytes. llama.cpp only displays it."""
    from gguf import GGML_QUANT_VERSION, LlamaFileType

    total: Counter[str] = Counter()
    for name, type_name in types.items():
        total[type_name] += sizes[name]
    most = total.most_common(1)[0][0]
    small = most in ("Q3_K", "Q4_K", "Q5_K")
    label = "ALL_F32" if most == "F32" else f"MOSTLY_{most}{'_S' if small else ''}"
    if label in LlamaFileType.__members__:
        writer.add_file_type(LlamaFileType[label])
    if set(types.values()) - set(DENSE_TYPES):
        writer.add_quantization_version(GGML_QUANT_VERSION)


class _Stream:
    """Array-like for `GGUFWriter.write_tensor_data` that is encoded and written in chunks."""

    def __init__(self, tensor: SourceTensor, type_name: str, nbytes: int, encode: Encode) -> None:
        self.tensor = tensor
        self.type_name = type_name
        self.nbytes = nbytes
        self.encode = encode

    def tofile(self, handle: BinaryIO) -> None:
        rows = self.tensor.shape[0]
        step = max(1, CHUNK_VALUES // math.prod(self.tensor.shape[1:]))
        written = 0
        for start in range(0, rows, step):
            values = self.tensor.read(start, min(start + step, rows))
            if not np.isfinite(values).all():
                raise UserError(
                    f"tensor {self.tensor.name} has weights that are not finite numbers (NaN or "
                    "infinite): the model is broken."
                )
            encoded = np.ascontiguousarray(self.encode(self.tensor, self.type_name, values))
            handle.write(encoded.data)
            written += encoded.nbytes
        if written != self.nbytes:
            raise RuntimeError(f"{self.tensor.name}: {written} bytes written, {self.nbytes} meant")
