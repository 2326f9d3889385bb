"""An ordinary Hugging Face folder as a GGUF: ``config.json``, safetensors, ``tokenizer.json``.

Needs neither PyTorch nor transformers: weights are mapped into memory and decoded row by row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.models.folder import check_folder
from galenic.models.gguf_family import ModelShape, add_shape, expected_tensors, read_shape
from galenic.models.gguf_vocab import Vocabulary, read_vocabulary
from galenic.models.gguf_write import GgufSource, SourceTensor, dense_types, write_gguf

if TYPE_CHECKING:
    from gguf import GGUFWriter

__all__ = ["folder_source", "folder_to_gguf"]

_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"}
_SHARDS = "model.safetensors.index.json"


def folder_to_gguf(folder: Path, target: Path, type_name: str = "F16") -> None:
    """Convert a folder; vectors stay F32.

    Args:
        folder: a model of a family of `galenic.models.gguf_family.FAMILIES`.
        target: the GGUF to write; one that is there is replaced when the new one is whole.
        type_name: of matrices: F32, F16 or BF16.

    Raises:
        UserError: as `folder_source` and `write_gguf`.
    """
    source = folder_source(folder)
    write_gguf(source, target, dense_types(source, type_name))


def folder_source(folder: Path) -> GgufSource:
    """Check a folder and say what its GGUF has in it.

    Raises:
        UserError: the folder is not whole, tensors are missing, misshapen or too many, or llama.cpp
            would compute something else than transformers.
    """
    files = check_folder(folder)
    config = json.loads((folder / "config.json").read_bytes())
    shape = read_shape(config, str(folder))
    rows = _map_tensors(files)
    expected = expected_tensors(shape)
    _check(folder, shape, expected, {name: array.shape for name, (array, _) in rows.items()})
    vocabulary = read_vocabulary(folder, shape.vocab_size)
    tensors = [_tensor(shape, name, *rows[name]) for name in expected]
    tensors += [
        SourceTensor(name, divisors.shape, partial(_slice, divisors))
        for name, divisors in shape.rope.tensors.items()
    ]
    describe = partial(_describe, name=folder.absolute().name, shape=shape, vocabulary=vocabulary)
    return GgufSource(str(folder), shape.family.architecture, describe, tuple(tensors))


def _describe(writer: GGUFWriter, *, name: str, shape: ModelShape, vocabulary: Vocabulary) -> None:
    writer.add_type("model")
    # llama.cpp takes any model with "phi3" or "phi-3" in its name for one with the SentencePiece
    # tokenizer of Phi-3, and fails to load where those tokens are missing
    writer.add_name(re.sub(r"(?i)(phi)-?3", r"\1_3", name))
    add_shape(writer, shape)
    vocabulary.describe(writer)


def _map_tensors(files: list[Path]) -> dict[str, tuple[NDArray[Any], str]]:
    """Every tensor of the weight files as an array in mapped memory, with its data type."""
    from gguf.utility import SafetensorsLocal

    found = {}
    for file in files:
        for name, tensor in SafetensorsLocal(file).tensors.items():
            if tensor.dtype not in _DTYPES:
                raise UserError(
                    f"{file}: tensor {name} has the type {tensor.dtype}; "
                    f"{', '.join(_DTYPES)} can be read. Dequantize the model first."
                )
            place = tensor.data_range
            size = int(np.prod(tensor.shape)) * np.dtype(_DTYPES[tensor.dtype]).itemsize
            if size != place.size or 0 in tensor.shape:
                raise UserError(
                    f"{file} is damaged: tensor {name} of shape {tensor.shape} has {place.size} "
                    f"bytes, {size} expected."
                )
            array: NDArray[Any] = np.memmap(
                place.filename, _DTYPES[tensor.dtype], "r", place.offset, tuple(tensor.shape)
            )
            found[name] = array, tensor.dtype
    return found


def _check(
    folder: Path,
    shape: ModelShape,
    expected: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
) -> None:
    missing = [name for name in expected if name not in found]
    if missing:
        raise UserError(f"{folder} lacks {len(missing)} tensors, for example {missing[0]}.")
    spare = {"lm_head.weight"} if shape.tied else set()  # saved twice by some
    odd = [n for n in found if n not in expected | dict.fromkeys(spare) and "inv_freq" not in n]
    if odd:
        raise UserError(
            f"{folder} has {len(odd)} tensors that a {shape.family.architecture} model has no "
            f"place for, for example {odd[0]}."
        )
    for name, size in expected.items():
        if tuple(found[name]) != size:
            raise UserError(
                f"{folder}: tensor {name} has the shape {tuple(found[name])}; config.json makes it "
                f"{size}."
            )


def _tensor(shape: ModelShape, name: str, array: NDArray[Any], dtype: str) -> SourceTensor:
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map

    numbers = {label: number for number, label in MODEL_ARCH_NAMES.items()}
    architecture: MODEL_ARCH = numbers[shape.family.architecture]
    names = get_tensor_name_map(architecture, shape.num_layers)
    target = names.get_name(name, try_suffixes=(".weight", ".bias"))
    if target is None:
        raise RuntimeError(f"the gguf package has no name for {name}")
    shift = shape.family.norm_shift if name.endswith("norm.weight") else 0.0
    order = _row_order(shape, name)
    return SourceTensor(target, array.shape, partial(_read, array, dtype, order, shift))


def _row_order(shape: ModelShape, name: str) -> NDArray[np.intp] | None:
    """Rows of queries and keys so that those that turn against each other become neighbours."""
    heads = {"q_proj": shape.num_heads, "k_proj": shape.num_kv_heads}.get(name.split(".")[-2])
    if heads is None or not shape.family.rotary_pairs:
        return None
    rows = np.arange(heads * shape.head_dim)
    return rows.reshape(heads, 2, shape.head_dim // 2).swapaxes(1, 2).reshape(-1)


def _read(
    array: NDArray[Any],
    dtype: str,
    order: NDArray[np.intp] | None,
    shift: float,
    start: int,
    stop: int,
) -> NDArray[np.float32]:
    rows = np.asarray(array[start:stop] if order is None else array[order[start:stop]])
    if dtype == "BF16":  # the upper half of a float32
        values: NDArray[np.float32] = (rows.astype(np.uint32) << 16).view(np.float32)
    else:
        values = rows.astype(np.float32)
    return values + np.float32(shift) if shift else values


def _slice(array: NDArray[np.float32], start: int, stop: int) -> NDArray[np.float32]:
    return array[start:stop]
