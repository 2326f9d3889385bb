"""Matrix products in bfloat16, with all else in float32.

CPUs with AMX or AVX512_BF16 multiply bfloat16 several times as fast as float32. In a model that is
bfloat16 altogether, the residual stream, large biases and the logits are rounded too, which changes
more answers than the products do: here inputs and weights of a product are rounded, and its output
once, before the bias is added.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import Linear

if TYPE_CHECKING:
    from galenic.models.layers import Layout

__all__ = ["round_products_", "rounded_products"]

LARGE = 512
"""Hidden size from which products take most of the time."""


def round_products_(model: Any) -> None:
    """Compute the products of all linear layers but the output head in bfloat16, for inference.

    Their weights are kept in bfloat16, in half the memory. A feed-forward network of linear layers
    and an activation takes bfloat16 from its input to its output.

    Args:
        model: a transformers model in float32.
    """
    head = model.get_output_embeddings()
    within: set[int] = set()
    for module in model.modules():
        if _is_feed_forward(module):
            module.bfloat16().forward = partial(_run_rounded, module.forward)
            within.update(id(layer) for layer in module.modules())
        elif type(module) is Linear and module is not head and id(module) not in within:
            rounded = module.weight.detach().bfloat16()
            module.weight = torch.nn.Parameter(rounded, requires_grad=False)
            module.forward = partial(_product, module)


def _is_feed_forward(module: Any) -> bool:
    """Whether its linear layers lie beside each other and hold all its weights, without bias."""
    layers = [layer for layer in module.children() if type(layer) is Linear]
    held = [layer.weight for layer in layers if layer.bias is None]
    return (
        type(module).__name__.endswith("MLP")
        and len(held) == len(layers) > 1
        and len(held) == len(list(module.parameters()))
    )


def _run_rounded(forward: Any, inputs: Any) -> Any:
    return forward(inputs.bfloat16()).float()


def _product(module: Any, inputs: Any) -> Any:
    made = torch.nn.functional.linear(inputs.bfloat16(), module.weight).float()
    return made if module.bias is None else made.add_(module.bias)


@contextmanager
def rounded_products(layout: Layout) -> Iterator[None]:
    """Context in which float32 products of a large model are computed in bfloat16, given AMX.

    Sums and outputs stay in float32; products in float64 are not changed.
    """
    before = torch.get_float32_matmul_precision()
    config = layout.model.config.get_text_config()
    if config.hidden_size >= LARGE and torch.cpu._is_amx_tile_supported():
        torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
