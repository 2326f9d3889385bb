"""Block quantization of a GGUF or of a folder: Q4_0 ... Q8_0, Q2_K ... Q6_K, IQ2_XXS ... IQ4_XS.

Rows are encoded by ggml itself (``ggml_quantize_chunk``), in the library that the llama runtime
loads, so every llama.cpp can read them. The importance of an input column, its mean squared
activation, weights the column's squared error.

Formats: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError, unknown_name
from galenic.models.files import ModelFiles
from galenic.models.gguf.copy import gguf_source
from galenic.models.gguf.folder import folder_source
from galenic.models.gguf.write import (
    DENSE_TYPES,
    GgufSource,
    SourceTensor,
    encode_dense,
    stored_bytes,
    write_gguf,
)
from galenic.runtimes.libllama import load_library

__all__ = [
    "BLOCK_TYPES",
    "FALLBACKS",
    "Importance",
    "check_importance",
    "decode_rows",
    "fitting_type",
    "model_source",
    "needs_importance",
    "quantize_gguf",
    "quantize_rows",
    "quantizes",
    "uniform_types",
]

logger = logging.getLogger(__name__)

BLOCK_TYPES = (
    "IQ2_XXS",
    "IQ2_XS",
    "IQ2_S",
    "Q2_K",
    "IQ3_XXS",
    "IQ3_S",
    "Q3_K",
    "IQ4_XS",
    "Q4_0",
    "Q4_1",
    "Q4_K",
    "IQ4_NL",
    "Q5_0",
    "Q5_1",
    "Q5_K",
    "Q6_K",
    "Q8_0",
)
"""Types supported by `quantize_rows`, from small to large."""

FALLBACKS = {
    **dict.fromkeys(("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **{"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"},
}
"""Types that llama.cpp uses instead if the row length is a multiple of 32 but not of 256
(``tensor_type_fallback`` in its llama-quant.cpp)."""

SHARED_VALUES = 1 << 16
"""Minimum number of weights for which rounding uses several threads."""

Importance: TypeAlias = Mapping[str, NDArray[np.float32]]
"""Mean squared activation of each input column, by tensor name."""


def model_source(files: ModelFiles) -> GgufSource:
    """Open the tensors and metadata of a model, either a GGUF or a folder.

    Raises:
        UserError: the model is damaged, or is a folder that cannot be written as GGUF.
    """
    return gguf_source(files.path) if files.kind == "gguf" else folder_source(files.path)


def quantizes(tensor: SourceTensor) -> bool:
    """Whether a tensor is quantized: matrices are; norms, biases and factors stay F32."""
    kept = ("_norm", "_gate_inp")  # _gate_inp is the router of experts
    return (
        len(tensor.shape) > 1
        and tensor.name.endswith("weight")
        and not any(part in tensor.name for part in kept)
    )


def fitting_type(shape: tuple[int, ...], type_name: str) -> str:
    """Return the type, or its fallback if the row length is not a multiple of its block size.

    Raises:
        UserError: the type is not one of `BLOCK_TYPES` or `DENSE_TYPES`.
    """
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if type_name not in (*BLOCK_TYPES, *DENSE_TYPES):
        raise unknown_name("tensor type", type_name, (*BLOCK_TYPES, *DENSE_TYPES))
    for candidate in (type_name, FALLBACKS.get(type_name, "F16")):
        if shape[-1] % GGML_QUANT_SIZES[GGMLQuantizationType[candidate]][0] == 0:
            return candidate
    return "F16"


def uniform_types(source: GgufSource, type_name: str) -> dict[str, str]:
    """Assign the same type, or its fallback, to all tensors that are quantized; F32 to others."""
    types = {}
    for tensor in source.tensors:
        types[tensor.name] = fitting_type(tensor.shape, type_name) if quantizes(tensor) else "F32"
    replaced = {name: kind for name, kind in types.items() if kind not in (type_name, "F32")}
    if replaced:
        logger.info(
            "%d of %d tensors have rows that blocks of %s do not divide; they are stored as %s",
            len(replaced), len(types), type_name, ", ".join(sorted(set(replaced.values()))),
        )  # fmt: skip
    return types


def quantize_gguf(
    source: GgufSource,
    target: Path,
    types: Mapping[str, str],
    *,
    importance: Importance | None = None,
) -> None:
    """Write a GGUF with each tensor in its type.

    Args:
        source: from `model_source`.
        target: file to write; an existing file is replaced once the new one is complete.
        types: type of each tensor by name, for example from `uniform_types`.
        importance: weights of input columns; equal weights for tensors without an entry.

    Raises:
        UserError: a type does not fit its tensor, or needs an importance and none is given; an
            importance has the wrong shape or is negative; or for the reasons of `write_gguf`.
    """
    weights = dict(importance or {})
    check_importance(source, weights)
    for tensor in source.tensors:
        kind = types.get(tensor.name, "F32")
        if kind != "F32" and not quantizes(tensor):
            raise UserError(f"tensor {tensor.name} must stay F32, and {kind} was asked for.")
        if kind not in DENSE_TYPES and not weights and needs_importance(kind):
            raise UserError(f"{kind} needs an importance, and {tensor.name} has none.")

    def encode(tensor: SourceTensor, kind: str, rows: NDArray[np.float32]) -> NDArray[Any]:
        if kind in DENSE_TYPES:
            return encode_dense(tensor, kind, rows)
        matrix = rows.reshape(-1, tensor.shape[-1])
        return quantize_rows(matrix, kind, importance=weights.get(tensor.name))

    write_gguf(source, target, types, encode=encode)


def check_importance(source: GgufSource, importance: Importance) -> None:
    """Check that each importance belongs to a tensor and has valid weights for its columns.

    Raises:
        UserError: an importance does not match.
    """
    columns = {tensor.name: tensor.shape[-1] for tensor in source.tensors}
    for name, weights in importance.items():
        if name not in columns:
            raise UserError(f"there is an importance for {name!r}, but no such tensor.")
        _check_weights(name, weights, columns[name])


def _check_weights(name: str, weights: NDArray[np.float32], columns: int) -> None:
    if weights.shape != (columns,):
        raise UserError(
            f"the importance of {name} has the shape {weights.shape}; it needs one value for each "
            f"of {columns} columns."
        )
    if not np.isfinite(weights).all() or weights.min() < 0 or weights.max() <= 0:
        raise UserError(
            f"the importance of {name} must be finite, nowhere negative and not all zero."
        )


def quantize_rows(
    rows: NDArray[np.float32],
    type_name: str,
    *,
    importance: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """Quantize a matrix row by row.

    Args:
        rows: shape (rows, columns), finite.
        type_name: one of `BLOCK_TYPES`.
        importance: weight of the squared error of each column; ignored by Q8_0. Types that
            require one (IQ2_XXS, IQ2_XS) get equal weights if it is None.

    Returns:
        The encoded blocks, shape (rows, bytes per row).

    Raises:
        UserError: the type is unknown, or the columns are not a multiple of its block size.
        ValueError: ``rows`` is not a matrix, or has values that are not finite.
    """
    from gguf import GGMLQuantizationType

    if type_name not in BLOCK_TYPES:
        raise unknown_name("block type", type_name, BLOCK_TYPES)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ValueError("a matrix of finite values is needed")
    size = stored_bytes(rows.shape, type_name)
    values = np.ascontiguousarray(rows, np.float32)
    weights = None
    if importance is not None:
        _check_weights("these rows", importance, rows.shape[1])
        weights = np.ascontiguousarray(importance, np.float32)
    library, number = load_library(), int(GGMLQuantizationType[type_name])
    if weights is None and needs_importance(type_name):
        weights = np.ones(rows.shape[1], np.float32)
    blocks = np.empty(size, np.uint8)
    library.ggml_quantize_init(number)

    def quantize_part(first: int, last: int) -> int:
        return int(
            library.ggml_quantize_chunk(
                number,
                _pointer(values),
                _pointer(blocks),
                first * rows.shape[1],
                last - first,
                rows.shape[1],
                None if weights is None else _pointer(weights),
            )
        )

    written = sum(_in_parts(quantize_part, rows.shape[0], rows.size))
    if written != size:
        raise RuntimeError(f"ggml wrote {written} bytes of {type_name}, {size} expected")
    return blocks.reshape(rows.shape[0], -1)


def _in_parts(work: Callable[[int, int], int], rows: int, values: int) -> Iterable[int]:
    """Call ``work(first, last)`` for parts of the rows in threads; once if there are few values."""
    if values < SHARED_VALUES:
        return [work(0, rows)]
    from galenic.runtimes.threads import asked_threads

    pool, count = _pool(asked_threads())
    ends = sorted({rows * part // count for part in range(count + 1)})
    return pool.map(work, ends[:-1], ends[1:])


@cache
def _pool(asked: int | None) -> tuple[ThreadPoolExecutor, int]:
    """Return a thread pool and its size; ctypes releases the GIL while ggml quantizes."""
    from galenic.runtimes.threads import choose_threads

    threads = asked or choose_threads()
    return ThreadPoolExecutor(threads, "quantize"), threads


class _TypeTraits(ctypes.Structure):
    """The first fields of the C struct ``ggml_type_traits``."""

    _fields_: ClassVar = [
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    ]


def decode_rows(blocks: NDArray[np.uint8], type_name: str) -> NDArray[np.float32]:
    """Dequantize the bytes of `quantize_rows` with ggml; returns shape (rows, columns)."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    number = GGMLQuantizationType[type_name]
    block, size = GGML_QUANT_SIZES[number]
    held = np.ascontiguousarray(blocks)
    address = load_library().ggml_get_type_traits(int(number))
    traits = ctypes.cast(address, ctypes.POINTER(_TypeTraits)).contents
    if (traits.blck_size, traits.type_size) != (block, size):
        raise UserError(
            f"the llama.cpp library stores {type_name} in a layout that Galenic does not know. "
            "Choose another type, or another build of the library (GALENIC_LIBLLAMA)."
        )
    values = np.empty((held.shape[0], held.shape[1] // size * block), np.float32)
    traits.to_float(_pointer(held), _pointer(values), values.size)
    return values


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def needs_importance(type_name: str) -> bool:
    """Whether ggml requires an importance to encode this type."""
    from gguf import GGMLQuantizationType

    number = int(GGMLQuantizationType[type_name])
    return bool(load_library().ggml_quantize_requires_imatrix(number))
