"""Importance files of llama.cpp (``llama-imatrix``, ``llama-quantize --imatrix``), in GGUF format.

For each matrix the file has ``NAME.in_sum2``, the sum over tokens of the squared input of each
column, and ``NAME.counts``, the number of tokens.

Format: https://github.com/ggml-org/llama.cpp/blob/master/tools/imatrix/README.md
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from galenic.cache import replacing
from galenic.compression.quantize.kquant import Importance
from galenic.errors import UserError
from galenic.models.gguf.header import read_header

if TYPE_CHECKING:
    from galenic.models.gguf.write import GgufSource

__all__ = ["read_imatrix", "write_imatrix"]

SUMS, COUNTS = ".in_sum2", ".counts"


def write_imatrix(
    path: Path, importance: Importance, *, sources: Sequence[str], chunks: int, chunk_size: int
) -> None:
    """Write mean squared inputs as an importance file of llama.cpp.

    Args:
        path: file to write; an existing file is replaced.
        importance: mean squared input of each column, by GGUF tensor name.
        sources: names of the texts.
        chunks: number of sequences.
        chunk_size: tokens per sequence.
    """
    from gguf import GGUFWriter

    with replacing(path) as part:
        writer = GGUFWriter(part, "imatrix")
        try:
            writer.add_type("imatrix")
            writer.add_array("imatrix.datasets", list(sources))
            writer.add_uint32("imatrix.chunk_count", chunks)
            writer.add_uint32("imatrix.chunk_size", chunk_size)
            count = np.float32(chunks * chunk_size)
            for name, means in importance.items():
                writer.add_tensor(f"{name}{SUMS}", (means * count).astype(np.float32)[None])
                writer.add_tensor(f"{name}{COUNTS}", np.full((1, 1), count, np.float32))
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()


def read_imatrix(path: Path, source: GgufSource) -> dict[str, Any]:
    """Read the mean squared inputs of a model's matrices from an importance file.

    Args:
        path: file written by `write_imatrix` or llama.cpp.
        source: the model.

    Returns:
        Means of shape (columns,), by GGUF tensor name; matrices without any data are left out.

    Raises:
        UserError: it is not an importance file, or belongs to another model.
    """
    header = read_header(path)
    if header.metadata.get("general.type") != "imatrix":
        raise UserError(
            f"{path} is not a llama.cpp importance file in GGUF form. `llama-imatrix "
            "--output-format gguf` and `galenic quantize --save-imatrix` write such files."
        )
    found = {info.name: _read(path, info) for info in header.tensors}
    means = {}
    for tensor in source.tensors:
        sums, count = found.get(f"{tensor.name}{SUMS}"), found.get(f"{tensor.name}{COUNTS}")
        if sums is None or count is None or len(tensor.shape) != 2:
            continue
        if sums.size != tensor.shape[-1] or count.size != 1 or not np.isfinite(sums).all():
            raise UserError(
                f"{path}: {tensor.name} has {sums.size} sums; the model has {tensor.shape[-1]} "
                "columns. The file belongs to another model, or is damaged."
            )
        if count[0] > 0 and sums.max() > 0:
            means[tensor.name] = sums / count[0]
    if not means:
        raise UserError(f"{path} has no importance for any matrix of {source.name}.")
    return means


def _read(path: Path, info: Any) -> Any:
    if info.type != "F32":
        raise UserError(f"{path}: {info.name} is {info.type}; importance is F32.")
    return np.fromfile(path, "<f4", info.num_bytes // 4, offset=info.offset)
