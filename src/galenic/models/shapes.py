"""A model without its weights: shapes, names, and the type that most weights have."""

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
    """The model of a configuration, its parameters on ``meta``, ready for evaluation in float32.

    Buffers that no file holds (rotary frequencies, the scale of Gemma's embedding) are real.
    """
    import accelerate
    import torch
    import transformers

    with accelerate.init_empty_weights(include_buffers=False):
        model = transformers.AutoModelForCausalLM.from_config(deepcopy(config), dtype=torch.float32)
    model.tie_weights()  # again: as they were registered, shared weights became two
    return model.eval()


def tensor_names(model: Any) -> dict[str, list[str]]:
    """The name under which each tensor is saved, with all its names: a tied head has none apart."""
    first: dict[int, str] = {}
    names: dict[str, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(first.setdefault(id(tensor), name), []).append(name)
    return names


def main_dtype(tensors: Mapping[str, StoredTensor | ExpertStack]) -> Any:
    """The ``torch.dtype`` in which most of the weights are stored."""
    import torch

    sizes: Counter[str] = Counter()
    for tensor in tensors.values():
        sizes[tensor.dtype] += math.prod(tensor.shape)
    kinds = {"F16": torch.float16, "BF16": torch.bfloat16}
    return kinds.get(sizes.most_common(1)[0][0], torch.float32)
