"""What `galenic prune` is told besides the method's own options."""

from __future__ import annotations

from pydantic import Field

from galenic.data.calibration import CalibrationConfig
from galenic.registry import PRUNERS

__all__ = ["PruneConfig"]


class PruneConfig(CalibrationConfig):
    """The model, the method's name, and the text it is fitted on."""

    model: str = Field(
        description="smollm2-135m (embedded), a GGUF file, a Hugging Face folder, or a Hub id."
    )
    method: str = Field("wanda", description=f"One of: {', '.join(PRUNERS)}.")
