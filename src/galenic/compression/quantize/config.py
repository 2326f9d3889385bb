"""Options of `galenic quantize` other than those of the method."""

from __future__ import annotations

from pydantic import Field

from galenic.compression.config import CompressionConfig
from galenic.registry import QUANTIZERS

__all__ = ["QuantizeConfig"]


class QuantizeConfig(CompressionConfig):
    """The method's name and what follows the method, besides model and text."""

    method: str = Field("kquant", description=f"One of: {', '.join(QUANTIZERS)}.")
    threads: int | None = Field(
        None, ge=1, description="Compute threads; default: chosen from the machine's load."
    )
    tune: bool = Field(
        False,
        description="Tune the quantized GGUF afterwards, with types and size unchanged: codes "
        "block by block towards the dense block's output, then scales and norms by KL "
        "to the dense model.",
    )
    tune_steps: int = Field(
        40,
        ge=0,
        description="With --tune: steps per block for the codes; 0 leaves the codes unchanged.",
    )
    tune_passes: int = Field(
        2, ge=0, description="With --tune: passes over the text for scales and norms."
    )
