"""How bitsandbytes lays quantized weights down in safetensors, so that they can be counted.

A 4-bit weight is a column of bytes with its shape in a JSON tensor beside it; an 8-bit weight keeps
its shape and has a scale for each row beside it.

Format: https://huggingface.co/docs/bitsandbytes/reference/nn/linear4bit
"""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from galenic.errors import UserError
from galenic.models.tensors import StoredTensor

__all__ = ["cast_rest_", "packed_sizes", "require_bitsandbytes"]

_STATE = ".quant_state.bitsandbytes__"
_BESIDE_4_BIT = (".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map")
_BESIDE_8_BIT = ("SCB", "weight_format")


def require_bitsandbytes() -> None:
    """Make sure that the package is there, and keep it from saying the same thing at every product.

    It may not fetch compiled code from the Hub by itself, which it does where the package kernels
    is installed. On a CPU, its 8-bit products take activations through float16: it warns each time.

    Raises:
        UserError: it is not installed.
    """
    if find_spec("bitsandbytes") is None:
        raise UserError(
            "weights packed by bitsandbytes need an extra: pip install 'galenic[train,bnb]'."
        )
    sys.modules.setdefault("kernels", None)  # type: ignore[arg-type] # imports of it fail
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def cast_rest_(model: Any, dtype: Any) -> None:
    """Bring what is not packed to a ``torch.dtype``: transformers loads it as it is stored."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)


def packed_sizes(stored: Mapping[str, StoredTensor]) -> dict[str, int]:
    """Weights in each tensor that belongs to a quantized one: 0 for scales and tables.

    Raises:
        UserError: the description of a weight is damaged.
    """
    sizes: dict[str, int] = {}
    for name, tensor in stored.items():
        weight, mark, _ = name.partition(_STATE)
        if mark and weight in stored:
            sizes[weight] = _described(tensor)
            sizes |= {f"{weight}{end}": 0 for end in _BESIDE_4_BIT if f"{weight}{end}" in stored}
            sizes[name] = 0
        module, _, leaf = name.rpartition(".")
        if leaf == "SCB" and f"{module}.weight" in stored:
            sizes[f"{module}.weight"] = math.prod(stored[f"{module}.weight"].shape)
            sizes |= {f"{module}.{end}": 0 for end in _BESIDE_8_BIT if f"{module}.{end}" in stored}
    return sizes


def _described(tensor: StoredTensor) -> int:
    with tensor.file.open("rb") as handle:
        handle.seek(tensor.offset)
        raw = handle.read(tensor.num_bytes)
    try:
        return math.prod(int(size) for size in json.loads(raw)["shape"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{tensor.file} is damaged: {tensor.name} gives no shape.") from error
