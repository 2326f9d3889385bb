"""How bitsandbytes lays quantized weights down in safetensors, so that they can be counted.

A 4-bit weight is a column of bytes with its shape in a JSON tensor beside it; an 8-bit weight keeps
its shape and has a scale for each row beside it.

Format: https://huggingface.co/docs/bitsandbytes/reference/nn/linear4bit
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from galenic.errors import UserError
from galenic.models.tensors import StoredTensor

__all__ = ["packed_sizes"]

_STATE = ".quant_state.bitsandbytes__"
_BESIDE_4_BIT = (".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map")
_BESIDE_8_BIT = ("SCB", "weight_format")


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
