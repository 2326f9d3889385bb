"""Estimate how fast PyTorch runs a model, without its weights, by timing a few dummy blocks."""

from __future__ import annotations

import time
from copy import deepcopy
from typing import Any

import torch
import transformers

from galenic.errors import UserError
from galenic.models.packing.products import round_products_
from galenic.runtimes.torch import DTYPES

__all__ = ["estimate_speed"]

BLOCKS = 2
TOKENS = 256
"""Vocabulary size of the dummy model, small so that head and embedding take almost no time."""
SHARE = 0.8
"""Speed of a whole model relative to its blocks alone; measured with SmolLM2-135M."""


def estimate_speed(
    config: Any, dtype: str, threads: int, texts: tuple[int, int], rounds: int
) -> float:
    """Estimate the prompt processing speed of a model in tokens per second.

    Args:
        config: transformers configuration of the model.
        dtype: a name in `galenic.runtimes.torch.DTYPES`.
        threads: number of compute threads.
        texts: batch shape: number of texts, and tokens of each.
        rounds: number of timed runs, of which the fastest counts.

    Raises:
        UserError: transformers does not support the model.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        model = _few_blocks(config, DTYPES[dtype])
        if dtype == "mixed":
            round_products_(model)
        tokens = torch.arange(texts[0] * texts[1]).reshape(texts) % TOKENS
        best = min(_seconds(model, tokens) for _ in range(rounds))
    finally:
        torch.set_num_threads(before)
    seconds = best * config.num_hidden_layers / model.config.num_hidden_layers
    return float(SHARE * tokens.numel() / seconds)


def _few_blocks(config: Any, dtype: torch.dtype) -> Any:
    """Build the first blocks of a model with constant weights, as values do not affect speed."""
    import accelerate

    small = deepcopy(config)
    small.num_hidden_layers = min(BLOCKS, config.num_hidden_layers)
    small.vocab_size = TOKENS
    small.pad_token_id = small.bos_token_id = small.eos_token_id = None  # beyond it in most models
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
