"""Convert a Hugging Face folder (``config.json``, safetensors, ``tokenizer.json``) to a GGUF.

Needs neither PyTorch nor transformers: weights are mapped into memory and decoded row by row.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.models.folder import check_folder, config_json
from galenic.models.gguf.family import ModelShape, add_shape, expected_tensors, read_shape
from galenic.models.gguf.names import gguf_name, row_order
from galenic.models.gguf.vocab import Vocabulary, read_vocabulary
from galenic.models.gguf.write import GgufSource, SourceTensor, dense_types, write_gguf
from galenic.models.tensors import StoredTensor, list_tensors, own_head

if TYPE_CHECKING:
    from gguf import GGUFWriter

__all__ = ["folder_source", "folder_to_gguf"]

logger = logging.getLogger(__name__)


def folder_to_gguf(folder: Path, target: Path, type_name: str = "F16") -> None:
    """Convert a folder to a GGUF; vectors are stored as F32.

    Args:
        folder: a model of one of `galenic.models.families.FAMILIES`.
        target: the GGUF to write; an existing file is replaced once the new one is complete.
        type_name: type of matrices: F32, F16 or BF16.

    Raises:
        UserError: as `folder_source` and `write_gguf`.
    """
    source = folder_source(folder)
    write_gguf(source, target, dense_types(source, type_name))


def folder_source(folder: Path) -> GgufSource:
    """Check a folder and return the content of its GGUF.

    Raises:
        UserError: the folder is incomplete, tensors are missing, unexpected or of the wrong shape,
            or llama.cpp would not compute the same as transformers.
    """
    files = check_folder(folder)
    config = config_json(folder)
    shape = read_shape(config, str(folder))
    _refuse_quantized(folder, config)
    if shape.cut:
        logger.warning("%s: %s", folder, shape.cut)
    stored = list_tensors(files)
    if shape.tied and own_head(stored):
        shape = replace(shape, tied=False)  # transformers does the same
    expected = expected_tensors(shape)
    _check(folder, shape, expected, {name: tensor.shape for name, tensor in stored.items()})
    vocabulary = read_vocabulary(folder, shape.vocab_size)
    tensors = [_tensor(shape, stored[name]) for name in expected if ".experts." not in name]
    tensors += _expert_stacks(shape, stored)
    tensors += [
        SourceTensor(name, divisors.shape, partial(_slice, divisors))
        for name, divisors in shape.rope.tensors.items()
    ]
    describe = partial(_describe, name=folder.absolute().name, shape=shape, vocabulary=vocabulary)
    return GgufSource(str(folder), shape.family.architecture, describe, tuple(tensors))


def _refuse_quantized(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise UserError if config.json says that the weights are quantized, true or not."""
    if (told := config.get("quantization_config")) is not None:
        method = told.get("quant_method") if isinstance(told, Mapping) else told
        raise UserError(
            f"config.json of {folder} says that its weights are quantized ({method}). Take the "
            "model they were made from; if they are plain, remove quantization_config there."
        )


def _describe(writer: GGUFWriter, *, name: str, shape: ModelShape, vocabulary: Vocabulary) -> None:
    writer.add_type("model")
    # llama.cpp assumes the SentencePiece tokenizer of Phi-3 for any model named "phi3" or "phi-3":
    # special tokens then swallow the spaces after them, and loading fails if they are missing
    if not vocabulary.phi3_spaces:
        name = re.sub(r"(?i)(phi)-?3", r"\1_3", name)
    elif not re.search(r"(?i)phi-?3", name):
        name += " (Phi-3 tokens)"
    writer.add_name(name)
    add_shape(writer, shape)
    vocabulary.describe(writer)


def _check(
    folder: Path,
    shape: ModelShape,
    expected: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
) -> None:
    missing = [name for name in expected if name not in found]
    if missing:
        raise UserError(f"{folder} lacks {len(missing)} tensors, for example {missing[0]}.")
    known = {*expected, *(["lm_head.weight"] if shape.tied else [])}  # some save a tied head too
    unread = shape.family.names.unread
    odd = [name for name in found if name not in known and not name.endswith(unread)]
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


def _tensor(shape: ModelShape, stored: StoredTensor) -> SourceTensor:
    shift = shape.family.norm_shift if stored.name.endswith("norm.weight") else 0.0
    stored.map()  # refuses types that cannot be read
    read = partial(_read, stored, row_order(shape, stored.name), shift)
    return SourceTensor(gguf_name(shape, stored.name), stored.shape, read)


def _expert_stacks(shape: ModelShape, stored: Mapping[str, StoredTensor]) -> list[SourceTensor]:
    """Stack each linear layer over the experts of a block, shape (experts, rows, columns)."""
    if shape.experts is None:
        return []
    family, found = shape.family, []
    for layer in range(shape.num_layers):
        prefix = f"model.layers.{layer}.{family.expert_part}.experts."
        for role, name in family.expert_maps.items():
            parts = [stored[f"{prefix}{n}.{name}.weight"] for n in range(shape.experts.count)]
            for part in parts:
                part.map()  # refuses types that cannot be read
            found.append(
                SourceTensor(
                    f"blk.{layer}.ffn_{role}_exps.weight",
                    (len(parts), *parts[0].shape),
                    partial(_stacked, parts),
                )
            )
    return found


def _stacked(parts: Sequence[StoredTensor], start: int, stop: int) -> NDArray[np.float32]:
    return np.stack([part.decode(part.map()) for part in parts[start:stop]])


def _read(
    stored: StoredTensor,
    order: NDArray[np.intp] | None,
    shift: float,
    start: int,
    stop: int,
) -> NDArray[np.float32]:
    array = stored.map()  # mapped anew, so that pages already read do not stay in memory
    rows = np.asarray(array[start:stop] if order is None else array[order[start:stop]])
    values = stored.decode(rows)
    return values + np.float32(shift) if shift else values


def _slice(array: NDArray[np.float32], start: int, stop: int) -> NDArray[np.float32]:
    return array[start:stop]
