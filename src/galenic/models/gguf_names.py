"""What a tensor of a Hugging Face model is called in a GGUF, and how its rows are ordered there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from galenic.models.gguf_family import ModelShape

__all__ = ["gguf_name", "row_order"]


def gguf_name(shape: ModelShape, name: str) -> str:
    """The name in the file, for example ``"blk.0.attn_q.weight"``.

    Args:
        shape: of the model.
        name: as transformers has it, with ``.weight`` or ``.bias`` at its end.
    """
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map

    numbers = {label: number for number, label in MODEL_ARCH_NAMES.items()}
    architecture: MODEL_ARCH = numbers[shape.family.architecture]
    names = get_tensor_name_map(architecture, shape.num_layers)
    found: str | None = names.get_name(name, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise RuntimeError(f"the gguf package has no name for {name}")
    return found


def row_order(shape: ModelShape, name: str) -> NDArray[np.intp] | None:
    """Rows of queries and keys so that those that turn against each other become neighbours.

    Args:
        shape: of the model.
        name: as transformers has it.

    Returns:
        The transformers row that stands in each row of the GGUF; None where the order is the same.
    """
    heads = {"q_proj": shape.num_heads, "k_proj": shape.num_kv_heads}.get(name.split(".")[-2])
    if heads is None or not shape.family.rotary_pairs:
        return None
    rows = np.arange(heads * shape.head_dim)
    return rows.reshape(heads, 2, shape.head_dim // 2).swapaxes(1, 2).reshape(-1)
