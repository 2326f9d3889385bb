"""Use a GGUF as the source of another one: same metadata, tensors decoded to float32 by rows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galenic.cache import replacing
from galenic.errors import UserError
from galenic.models.gguf.header import TensorInfo, check_gguf
from galenic.models.gguf.write import GgufSource, SourceTensor

if TYPE_CHECKING:
    from gguf import GGUFWriter

__all__ = ["gguf_source", "join_parts"]

_OF_THE_FILE = ("GGUF.", "general.architecture", "general.alignment", "split.")
_WRITTEN_ANEW = (*_OF_THE_FILE, "general.file_type", "general.quantization_version")


def gguf_source(path: Path, texts: Mapping[str, str] | None = None) -> GgufSource:
    """Check a GGUF and return a source that writes a copy of it.

    Args:
        path: path of the file.
        texts: string metadata to replace in the copy, by key.

    Raises:
        UserError: the file is damaged, or has tensors of a type that cannot be decoded.
    """
    header = check_gguf(path)
    return GgufSource(
        str(path),
        header.metadata["general.architecture"],
        partial(_copy_metadata, path=path, texts=dict(texts or {})),
        tuple(_tensor(info.file or path, info) for info in header.tensors),
    )


def join_parts(path: Path, target: Path, names: Mapping[str, str | None] | None = None) -> None:
    """Join the parts of a split model into one file; tensor data is copied unchanged.

    Args:
        path: path of the first part, or of the only file.
        target: the file to write.
        names: new names of tensors that do not keep theirs; None leaves a tensor out.

    Raises:
        UserError: as `galenic.models.gguf.header.check_gguf`.
    """
    from gguf import GGMLQuantizationType, GGUFWriter

    header = check_gguf(path)
    new = {info.name: info.name for info in header.tensors} | dict(names or {})
    tensors = [info for info in header.tensors if new[info.name] is not None]
    with replacing(target) as part:
        writer = GGUFWriter(part, header.metadata["general.architecture"])
        try:
            _copy_metadata(writer, path=path, texts={}, anew=_OF_THE_FILE)
            for info in tensors:
                shape, kind = tuple(reversed(info.shape)), GGMLQuantizationType[info.type]
                empty = np.dtype(np.float32)
                writer.add_tensor_info(new[info.name], shape, empty, info.num_bytes, kind)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for info in tensors:
                file = info.file or path
                writer.write_tensor_data(
                    np.memmap(file, np.uint8, "r", info.offset, (info.num_bytes,))
                )
        finally:
            writer.close()


def _copy_metadata(
    writer: GGUFWriter,
    *,
    path: Path,
    texts: Mapping[str, str],
    anew: tuple[str, ...] = _WRITTEN_ANEW,
) -> None:
    from gguf import GGUFReader, GGUFValueType

    for name, text in texts.items():
        writer.add_string(name, text)
    reader: Any = GGUFReader(path)
    for name, field in reader.fields.items():
        if name.startswith(anew) or name in texts:
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, sub_type=inner)


def _tensor(path: Path, info: TensorInfo) -> SourceTensor:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

    kind = GGMLQuantizationType[info.type]
    try:
        quants.dequantize(np.zeros((1, GGML_QUANT_SIZES[kind][1]), np.uint8), kind)
    except NotImplementedError as error:
        raise UserError(
            f"{path}: tensor {info.name} of type {info.type} cannot be decoded here."
        ) from error
    shape = tuple(reversed(info.shape))
    return SourceTensor(info.name, shape, partial(_read, path, info, kind, shape))


def _read(
    path: Path, info: TensorInfo, kind: Any, shape: tuple[int, ...], start: int, stop: int
) -> NDArray[np.float32]:
    from gguf import quants

    # A vector is decoded as one row and then sliced. The file is mapped anew on each call, so that
    # pages already read do not stay in memory.
    rows = shape[0] if len(shape) > 1 else 1
    bytes_of: NDArray[np.uint8] = np.memmap(
        path, np.uint8, "r", info.offset, (rows, info.num_bytes // rows)
    )
    if len(shape) == 1:
        values: NDArray[np.float32] = quants.dequantize(np.ascontiguousarray(bytes_of), kind)
        return values.reshape(shape)[start:stop]
    part = np.ascontiguousarray(bytes_of[start:stop])
    values = quants.dequantize(part, kind)
    return values.reshape(stop - start, *shape[1:])
