"""Map tensors of a Hugging Face model to their names and row order in a GGUF."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.models.gguf.family import ModelShape

if TYPE_CHECKING:
    from gguf import TensorNameMap

    from galenic.models.gguf.write import SourceTensor

__all__ = [
    "EMBEDDING",
    "file_name",
    "from_gguf",
    "gguf_name",
    "pair_order",
    "read_values",
    "row_order",
    "stack_of",
]

EMBEDDING = "token_embd.weight"
"""GGUF name of the token embedding, which a tied head shares."""
HEAD = "output.weight"
"""GGUF name of a head of its own."""


def gguf_name(shape: ModelShape, name: str) -> str:
    """GGUF name of a tensor in a model of this shape; see `file_name`."""
    return file_name(shape.family.architecture, shape.num_layers, name)


def file_name(architecture: str, num_layers: int, name: str) -> str:
    """Return the GGUF name of a tensor, for example ``"blk.0.attn_q.weight"``.

    Args:
        architecture: llama.cpp's name of the architecture.
        num_layers: number of layers of the model.
        name: transformers name, ending in ``.weight`` or ``.bias``.
    """
    if name == "lm_head.weight":  # gguf does not list it for families that always tie it
        return HEAD
    names = _name_map(architecture, num_layers)
    found: str | None = names.get_name(name, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise RuntimeError(f"the gguf package has no name for {name}")
    return found


@functools.lru_cache(8)  # made anew for each tensor, it took longer than reading the header
def _name_map(architecture: str, num_layers: int) -> TensorNameMap:
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    numbers = {label: number for number, label in MODEL_ARCH_NAMES.items()}
    return get_tensor_name_map(numbers[architecture], num_layers)


def stack_of(shape: ModelShape, name: str) -> tuple[str, int] | None:
    """Locate an expert's weight: the GGUF tensor that stacks a block's experts, and its index.

    Args:
        shape: sizes of the model.
        name: name of the tensor in a safetensors file.

    Returns:
        None if the tensor does not belong to an expert.
    """
    family = shape.family
    match = re.match(r"model\.layers\.(\d+)\.\w+\.experts\.(\d+)\.(\w+)\.weight$", name)
    if not family.expert_part or match is None:
        return None
    role = next(role for role, path in family.expert_maps.items() if path == match[3])
    return f"blk.{match[1]}.ffn_{role}_exps.weight", int(match[2])


def read_values(
    shape: ModelShape, name: str, stored: Mapping[str, SourceTensor]
) -> NDArray[np.float32]:
    """Read a parameter from a GGUF by its transformers name.

    Args:
        shape: sizes of the model.
        name: transformers name; the experts of a block are one tensor there, gate and up joined.
        stored: tensors of the GGUF by name.

    Raises:
        UserError: the GGUF lacks the parameter.
    """
    match = re.match(r"model\.layers\.(\d+)\..*experts\.(gate_up_proj|down_proj)$", name)
    if match is None:
        return from_gguf(shape, name, _whole(stored, gguf_name(shape, name)))
    roles = ("gate", "up") if match[2] == "gate_up_proj" else ("down",)
    parts = [_whole(stored, f"blk.{match[1]}.ffn_{role}_exps.weight") for role in roles]
    return np.concatenate(parts, axis=1)


def _whole(stored: Mapping[str, SourceTensor], name: str) -> NDArray[np.float32]:
    if name not in stored:
        raise UserError(f"the GGUF lacks the tensor {name}.")
    return stored[name].read(0, stored[name].shape[0]).reshape(stored[name].shape)


def row_order(shape: ModelShape, name: str) -> NDArray[np.intp] | None:
    """Row order of a tensor in a GGUF of this shape; None if unchanged.

    See `pair_order`. GPT-NeoX stores query, key and value of each head together, and a GGUF the
    queries of all heads, then the keys, then the values.
    """
    if name.split(".")[-2] == "query_key_value":
        return _parted(shape.num_heads, shape.head_dim)
    if not shape.family.rotary_pairs:
        return None
    return pair_order(name, shape.num_heads, shape.num_kv_heads, shape.head_dim)


def _parted(num_heads: int, head_dim: int) -> NDArray[np.intp]:
    rows = np.arange(3 * num_heads * head_dim)
    return rows.reshape(num_heads, 3, head_dim).swapaxes(0, 1).reshape(-1)


def from_gguf(shape: ModelShape, name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert a GGUF tensor to transformers: restore the row order and undo the norm shift.

    Args:
        shape: sizes of the model.
        name: transformers name of the tensor.
        values: values as stored in the GGUF.
    """
    if (order := row_order(shape, name)) is not None:
        turned = np.empty_like(values)
        turned[order] = values
        values = turned
    if name.endswith("norm.weight") and shape.family.norm_shift:
        values = values - np.float32(shape.family.norm_shift)
    return values


def pair_order(
    name: str, num_heads: int, num_kv_heads: int, head_dim: int
) -> NDArray[np.intp] | None:
    """Row order of query and key weights in a GGUF, where rows that rotate together are adjacent.

    Args:
        name: transformers name of the tensor.
        num_heads: number of query heads.
        num_kv_heads: number of key/value heads.
        head_dim: rows of a head.

    Returns:
        For each row of the GGUF, the index of the transformers row; None for other tensors.
    """
    heads = {"q_proj": num_heads, "k_proj": num_kv_heads}.get(name.split(".")[-2])
    if heads is None:
        return None
    rows = np.arange(heads * head_dim)
    return rows.reshape(heads, 2, head_dim // 2).swapaxes(1, 2).reshape(-1)
