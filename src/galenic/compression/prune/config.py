"""Options of `galenic prune` other than those of the method."""

from __future__ import annotations

from pydantic import Field

from galenic.data.calibration import CalibrationConfig
from galenic.registry import PRUNERS

__all__ = ["PruneConfig"]


class PruneConfig(CalibrationConfig):
    """The model, the method's name, and the calibration text."""

    model: str = Field(
        description="smollm2-135m (embedded), a GGUF file, a Hugging Face folder, or a Hub id."
    )
    method: str = Field("wanda", description=f"One of: {', '.join(PRUNERS)}.")
    reconstruct: bool = Field(
        False,
        description="After the cut, fit the last map of each block by least squares so that the "
        "block puts out what that of the dense model does on the calibration text (width, depth).",
    )
    steps: int = Field(
        1,
        ge=1,
        description="Cut in so many steps of equal size, reconstructing after each (width, depth); "
        "4 for a fifth.",
    )

    @property
    def heals(self) -> bool:
        """Whether blocks are fitted to the dense model's after pruning."""
        return self.reconstruct or self.steps > 1
