"""NF4: four bits a weight, sixteen levels at the quantiles of a normal distribution.

Dettmers, Pagnoni, Holtzman and Zettlemoyer, QLoRA: Efficient Finetuning of Quantized LLMs (2023),
https://arxiv.org/abs/2305.14314. Packed by bitsandbytes.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from galenic.compression.quantize.packed import PackedQuantizer

__all__ = ["NF4"]

BLOCK = 64
"""Weights that share a scale: what transformers asks bitsandbytes for; it offers no other."""
SCALES = 256
"""Scales that share a scale of their own, with double quantization."""
TABLES = 4 * (16 + 256) + 1024
"""Bytes of the code books of weights and scales, and room for the description in JSON."""


class NF4(PackedQuantizer):
    """Each block of 64 weights is divided by its largest and rounded to the nearest level."""

    name = "nf4"
    title = "4-bit NormalFloat by bitsandbytes, for the torch runtime"
    reference_url = "https://arxiv.org/abs/2305.14314"

    double_quant: bool = Field(
        True, description="Store the scales in 8 bits: 4.13 bits a weight in place of 4.5."
    )

    def packed_bytes(self, outputs: int, inputs: int) -> int:
        size = outputs * inputs
        blocks = -(-size // BLOCK)
        scales = blocks + 4 * -(-blocks // SCALES) if self.double_quant else 4 * blocks
        return -(-size // 2) + scales + TABLES

    def settings(self) -> dict[str, Any]:
        return {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": self.double_quant,
        }
