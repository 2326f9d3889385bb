"""Quantization-aware training of adapters: weights are rounded by ggml in the forward pass.

The rounding is ggml's (`galenic.compression.quantize.kquant.quantize_rows`, without importance),
so `galenic quantize --type TYPE --no-importance` of the merged model stores exactly the weights
that the adapter was trained with. Gradients use the straight-through estimator (Bengio et al. 2013,
https://arxiv.org/abs/1308.3432).
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from galenic.compression.quantize.agreement import Margins, compare_margins, passage_tokens
from galenic.compression.quantize.kquant import decode_rows, fitting_type, quantize_rows
from galenic.compression.quantize.types.lattice import LATTICES
from galenic.errors import unknown_name
from galenic.models.checkpoint import Checkpoint
from galenic.models.gguf.write import DENSE_TYPES
from galenic.models.layers import Layout, read_layout
from galenic.training.loading import load_dense

__all__ = [
    "check_type",
    "round_adapted_",
    "round_others_",
    "rounded",
    "stored_margins",
    "unrounded",
]


def check_type(kind: str) -> str:
    """Return the name of a type in upper case.

    Raises:
        UserError: it is not a type that can be trained for.
    """
    if kind.upper() not in LATTICES:
        raise unknown_name("block type for --for-type", kind, LATTICES)
    return kind.upper()


def rounded(weight: Any, kind: str) -> Any:
    """Return a weight rounded as a file of this type stores it, or its fallback type if needed.

    Args:
        weight: float32, shape (rows, columns).
        kind: name of a block type.
    """
    import torch

    fitting = fitting_type(tuple(weight.shape), kind)
    if fitting in DENSE_TYPES:
        return weight.half().float()
    values = weight.detach().cpu().numpy()
    blocks = quantize_rows(values, fitting)
    return torch.from_numpy(decode_rows(blocks, fitting)).to(weight.device)


def round_others_(layout: Layout, kind: str, adapted: set[str]) -> None:
    """Round all matrices without an adapter in place: embedding, head and linear layers.

    Args:
        layout: layout of the model.
        kind: name of a block type.
        adapted: names, within the decoder, of the modules with an adapter.
    """
    import torch

    done = {id(m.weight) for name, m in layout.decoder.named_modules() if name in adapted}
    with torch.no_grad():
        for module in layout.model.modules():
            weight = getattr(module, "weight", None)
            if weight is None or weight.ndim != 2 or id(weight) in done:
                continue
            weight.copy_(rounded(weight, kind))
            done.add(id(weight))


def unrounded(trained: Any, checkpoint: Checkpoint, names: Collection[str]) -> Layout:
    """Load the model without rounding, with the trained weights, so that it is rounded only once.

    Args:
        trained: trained model with merged adapters, whose other weights are rounded.
        checkpoint: the model before training.
        names: names, within the decoder, of the trained modules.
    """
    import torch

    layout = load_dense(checkpoint)
    mine, theirs = layout.decoder, read_layout(trained).decoder
    with torch.no_grad():
        for name in names:
            mine.get_submodule(name).weight.copy_(theirs.get_submodule(name).weight)
    return layout


def stored_margins(layout: Layout, kind: str, checkpoint: Checkpoint) -> Margins:
    """Measure how storing a model will change its predictions; rounds its matrices in place."""
    import torch

    tokens = passage_tokens(checkpoint)
    with torch.no_grad():
        merged = layout.model(input_ids=tokens, use_cache=False).logits[0]
        round_others_(layout, kind, set())
        stored = layout.model(input_ids=tokens, use_cache=False).logits[0]
    return compare_margins(merged, stored)


def round_adapted_(model: Any, kind: str) -> None:
    """Make every layer with an adapter use the rounded sum of weight and adapter (peft model)."""
    from peft.tuners.lora import Linear

    for module in model.modules():
        if isinstance(module, Linear):
            module.forward = partial(_forward, module, kind)


def _forward(module: Any, kind: str, inputs: Any) -> Any:
    import torch

    weight = module.base_layer.weight
    if not module.disable_adapters:
        (name,) = module.active_adapters
        up, down = module.lora_B[name].weight, module.lora_A[name].weight
        weight = weight + module.scaling[name] * (up @ down)
    passed = weight + (rounded(weight, kind) - weight).detach()
    return torch.nn.functional.linear(inputs, passed, module.base_layer.bias)
