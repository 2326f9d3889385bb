"""Options of `galenic quantize` other than those of the method."""

from __future__ import annotations

from pydantic import Field

from galenic.data.calibration import CalibrationConfig
from galenic.registry import QUANTIZERS

__all__ = ["QuantizeConfig"]


class QuantizeConfig(CalibrationConfig):
    """The model, the method's name, and the calibration text."""

    model: str = Field(
        description="smollm2-135m (embedded), a GGUF file, a Hugging Face folder, or a Hub id."
    )
    method: str = Field("kquant", description=f"One of: {', '.join(QUANTIZERS)}.")
    threads: int | None = Field(
        None, ge=1, description="Compute threads; default: chosen from the machine's load."
    )
    tie_head: bool = Field(
        False,
        description="For a GGUF that holds one matrix twice, as embedding and as head: keep the "
        "finer one for both.",
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
