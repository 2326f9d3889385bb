"""A model without its weights: shapes, saved names, and the main type of the weights."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from galenic.models.packing.experts import ExpertStack
from galenic.models.tensors import StoredTensor

__all__ = [
    "empty_model",
    "main_dtype",
    "tensor_names",
]


def empty_model(config: Any) -> Any:
    """Build the model of a configuration with parameters on ``meta``, in evaluation mode, float32.

    Buffers are real, because no file holds them (rotary frequencies, Gemma's embedding scale).
    """
    import accelerate
    import torch
    import transformers
    from transformers.initialization import no_init_weights

    # what has no storage needs no random numbers; drawing them took most of the time
    with no_init_weights(), accelerate.init_empty_weights(include_buffers=False):
        model = transformers.AutoModelForCausalLM.from_config(deepcopy(config), dtype=torch.float32)
    model.tie_weights()  # again: moving to meta separated shared weights
    return model.eval()


def tensor_names(model: Any) -> dict[str, list[str]]:
    """Saved name of each tensor, with all its names in the model (a tied head has two)."""
    first: dict[int, str] = {}
    names: dict[str, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(first.setdefault(id(tensor), name), []).append(name)
    return names


def main_dtype(tensors: Mapping[str, StoredTensor | ExpertStack]) -> Any:
    """``torch.dtype`` in which most of the weights are stored."""
    import torch

    sizes: Counter[str] = Counter()
    for tensor in tensors.values():
        sizes[tensor.dtype] += math.prod(tensor.shape)
    kinds = {"F16": torch.float16, "BF16": torch.bfloat16}
    return kinds.get(sizes.most_common(1)[0][0], torch.float32)
