"""LLM.int8(): eight bits per weight, one scale per row, outlier inputs in float16.

Dettmers, Lewis, Belkada and Zettlemoyer, LLM.int8(): 8-bit Matrix Multiplication for Transformers
at Scale (2022), https://arxiv.org/abs/2208.07339. Packed by bitsandbytes.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from galenic.compression.quantize.packed import PackedQuantizer

__all__ = ["Int8"]


class Int8(PackedQuantizer):
    """Divides each row by its largest absolute value, and rounds it to integers in -127..127."""

    name = "int8"
    title = "LLM.int8() by bitsandbytes, for the torch runtime"
    reference_url = "https://arxiv.org/abs/2208.07339"
    through_half = True

    threshold: float = Field(
        6.0,
        ge=0,
        description="Outlier threshold: inputs with larger activations are multiplied in 16 bits; "
        "0 for none.",
    )

    def packed_bytes(self, outputs: int, inputs: int) -> int:
        return outputs * inputs + 4 * outputs + 1  # codes, scales, a byte for the layout

    def settings(self) -> dict[str, Any]:
        return {"load_in_8bit": True, "llm_int8_threshold": self.threshold}
