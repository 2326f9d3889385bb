"""Load a model for training: weights in float32, or quantized to few bits and frozen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from galenic.models.checkpoint import Checkpoint
from galenic.models.layers import Layout, read_layout
from galenic.models.quiet import quiet_transformers

__all__ = ["PACKERS", "load_dense", "load_packed", "load_rounded"]

PACKERS = {4: "nf4", 8: "int8"}
"""Quantization method by bits per weight."""


def load_dense(checkpoint: Checkpoint) -> Layout:
    """Load the whole model in float32."""
    return read_layout(_load(checkpoint))


def load_packed(checkpoint: Checkpoint, bits: int) -> Layout:
    """Load the model with its blocks' linear layers quantized by bitsandbytes, the rest in float32.

    The quantized layers are frozen; in the returned layout their modules have names and shapes
    but no weights.

    Args:
        checkpoint: the model.
        bits: a key of `PACKERS`.

    Raises:
        UserError: bitsandbytes is not installed.
    """
    model = _pack(checkpoint, bits)
    modules = model.get_decoder().layers
    blocks = tuple(
        replace(block, module=module)
        for block, module in zip(checkpoint.shapes.blocks, modules, strict=True)
    )
    return replace(checkpoint.shapes, model=model, decoder=model.get_decoder(), blocks=blocks)


def load_rounded(checkpoint: Checkpoint, bits: int) -> Any:
    """Load the model of `load_packed` with its rounded weights dequantized to float32."""
    import torch

    model = _pack(checkpoint, bits)
    with quiet_transformers():
        model = model.dequantize(dtype=torch.float32)
    return model.float()


def _pack(checkpoint: Checkpoint, bits: int) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    from galenic.models.packing.bitsandbytes import cast_rest_, require_bitsandbytes
    from galenic.registry import QUANTIZERS

    require_bitsandbytes()
    settings = QUANTIZERS.load(PACKERS[bits])().settings()
    if bits == 4:
        settings["bnb_4bit_compute_dtype"] = torch.float32
    config = BitsAndBytesConfig(**settings, llm_int8_skip_modules=["lm_head"])
    model = _load(checkpoint, quantization_config=config, device_map={"": "cpu"})
    cast_rest_(model, torch.float32)
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # otherwise the first validation in bfloat16 changes the weights' layout permanently
            module.support_avx512bf16_for_cpu = False
    return model


def _load(checkpoint: Checkpoint, **others: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    with quiet_transformers():
        return AutoModelForCausalLM.from_pretrained(
            checkpoint.folder, dtype=torch.float32, **others
        )
