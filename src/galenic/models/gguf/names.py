"""What a tensor of a Hugging Face model is called in a GGUF, and how its rows are ordered there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.models.gguf.family import ModelShape

if TYPE_CHECKING:
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
"""Of the token embedding, which a tied head shares."""


def gguf_name(shape: ModelShape, name: str) -> str:
    """`file_name` in a model of this shape."""
    return file_name(shape.family.architecture, shape.num_layers, name)


def file_name(architecture: str, num_layers: int, name: str) -> str:
    """The name in the file, for example ``"blk.0.attn_q.weight"``.

    Args:
        architecture: as llama.cpp calls it.
        num_layers: of the model.
        name: as transformers has it, with ``.weight`` or ``.bias`` at its end.
    """
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map

    numbers = {label: number for number, label in MODEL_ARCH_NAMES.items()}
    if name == "lm_head.weight":  # not listed where it is always the embedding
        return "output.weight"
    known: MODEL_ARCH = numbers[architecture]
    names = get_tensor_name_map(known, num_layers)
    found: str | None = names.get_name(name, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise RuntimeError(f"the gguf package has no name for {name}")
    return found


def stack_of(shape: ModelShape, name: str) -> tuple[str, int] | None:
    """Where an expert's weight lies: the tensor that all experts of a block share, and its place.

    Args:
        shape: of the model.
        name: as files have it. None for what is of no expert.
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
    """A parameter, by its name in transformers, out of a GGUF.

    Args:
        shape: of the model.
        name: as transformers has it; experts of a block are one tensor, gate and up joined.
        stored: what the GGUF has, by name there.

    Raises:
        UserError: it lacks the parameter.
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
    """`pair_order` in a model of this shape; None where its family keeps the order."""
    if not shape.family.rotary_pairs:
        return None
    return pair_order(name, shape.num_heads, shape.num_kv_heads, shape.head_dim)


def from_gguf(shape: ModelShape, name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A tensor as it is in a GGUF of this shape, as transformers has it.

    Args:
        shape: of the model.
        name: as transformers has it.
        values: as the GGUF has them.
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
    """Rows of queries and keys so that those that turn against each other become neighbours.

    Args:
        name: as transformers has it.
        num_heads: of the queries.
        num_kv_heads: of keys and values.
        head_dim: rows of a head.

    Returns:
        The transformers row that stands in each row of the GGUF; None for other tensors.
    """
    heads = {"q_proj": num_heads, "k_proj": num_kv_heads}.get(name.split(".")[-2])
    if heads is None:
        return None
    rows = np.arange(heads * head_dim)
    return rows.reshape(heads, 2, head_dim // 2).swapaxes(1, 2).reshape(-1)
