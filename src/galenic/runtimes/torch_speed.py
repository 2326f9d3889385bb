"""How fast PyTorch would read a model, without its weights: a few made-up blocks are timed."""

from __future__ import annotations

import time
from copy import deepcopy
from typing import Any

import torch
import transformers

from galenic.errors import UserError
from galenic.runtimes.torch import DTYPES

__all__ = ["estimate_speed"]

BLOCKS = 2
TOKENS = 256
"""Of the made-up model, whose head and embedding take next to no time."""
SHARE = 0.8
"""Of the speed of its blocks that a whole model reaches: measured with SmolLM2-135M."""


def estimate_speed(
    config: Any, dtype: str, threads: int, texts: tuple[int, int], rounds: int
) -> float:
    """Tokens a second that the blocks of a model read.

    Args:
        config: of the model.
        dtype: of weights and activations, a name in `galenic.runtimes.torch.DTYPES`.
        threads: to compute with.
        texts: how many are read at once, and the tokens of each.
        rounds: the best of which counts.

    Raises:
        UserError: transformers has no such model.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        model = _few_blocks(config, DTYPES[dtype])
        tokens = torch.arange(texts[0] * texts[1]).reshape(texts) % TOKENS
        best = min(_seconds(model, tokens) for _ in range(rounds))
    finally:
        torch.set_num_threads(before)
    seconds = best * config.num_hidden_layers / model.config.num_hidden_layers
    return float(SHARE * tokens.numel() / seconds)


def _few_blocks(config: Any, dtype: torch.dtype) -> Any:
    """The first blocks with constant weights, whose values do not matter for speed."""
    import accelerate

    small = deepcopy(config)
    small.num_hidden_layers = min(BLOCKS, config.num_hidden_layers)
    small.vocab_size = TOKENS
    if getattr(small, "layer_types", None):
        small.layer_types = small.layer_types[: small.num_hidden_layers]
    try:
        with accelerate.init_empty_weights(include_buffers=False):
            model = transformers.AutoModelForCausalLM.from_config(small, dtype=dtype)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"transformers has no such model: {error}") from error
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            filled = torch.full(weight.shape, 0.01, dtype=dtype)
            setattr(module, name, torch.nn.Parameter(filled, requires_grad=False))
    return model.eval()


def _seconds(model: Any, tokens: torch.Tensor) -> float:
    start = time.perf_counter()
    with torch.inference_mode():
        model(input_ids=tokens, use_cache=False, logits_to_keep=1)
    return time.perf_counter() - start
