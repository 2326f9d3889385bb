"""NF4: four bits per weight, with 16 levels at the quantiles of a normal distribution.

Dettmers, Pagnoni, Holtzman and Zettlemoyer, QLoRA: Efficient Finetuning of Quantized LLMs (2023),
https://arxiv.org/abs/2305.14314. Packed by bitsandbytes.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from galenic.compression.quantize.packed import PackedQuantizer

__all__ = ["NF4"]

BLOCK = 64
"""Number of weights that share a scale; fixed by transformers."""
SCALES = 256
"""Number of scales that share a second-level scale, with double quantization."""
TABLES = 4 * (16 + 256) + 1024
"""Bytes of the code books of weights and scales, and upper bound for the JSON description."""


class NF4(PackedQuantizer):
    """Divides each block of 64 weights by its largest absolute value; rounds to nearest level."""

    name = "nf4"
    title = "4-bit NormalFloat by bitsandbytes, for the torch runtime"
    reference_url = "https://arxiv.org/abs/2305.14314"

    double_quant: bool = Field(
        True,
        description="Quantize the scales to 8 bits as well: 4.13 instead of 4.5 bits per weight.",
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
