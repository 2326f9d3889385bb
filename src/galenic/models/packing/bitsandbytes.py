"""Count and load weights that bitsandbytes quantized in safetensors files.

A 4-bit weight is a column of bytes, with its shape in a separate JSON tensor; an 8-bit weight keeps
its shape and has a separate tensor of row scales.

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
    """Check that bitsandbytes is installed, silence its warnings, and block its downloads.

    On a CPU it warns at every 8-bit matrix product that activations are cast to float16. Where the
    ``kernels`` package is installed, it would download compiled code from the Hub; imports of that
    package are therefore made to fail.

    Raises:
        UserError: bitsandbytes is not installed.
    """
    if find_spec("bitsandbytes") is None:
        raise UserError(
            "weights packed by bitsandbytes need an extra: pip install 'galenic[train,bnb]'."
        )
    sys.modules.setdefault("kernels", None)  # type: ignore[arg-type] # imports of it fail
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def cast_rest_(model: Any, dtype: Any) -> None:
    """Cast all unpacked floating tensors to a ``torch.dtype``, in place.

    transformers leaves them in the type they are stored in.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)


def packed_sizes(stored: Mapping[str, StoredTensor]) -> dict[str, int]:
    """Number of weights in each tensor of a quantized layer, by name; 0 for scales and tables.

    Raises:
        UserError: the JSON description of a weight is damaged.
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
