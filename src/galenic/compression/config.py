"""Options that every stage of compression has."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from galenic.data.calibration import CalibrationConfig

__all__ = ["CompressionConfig"]


class CompressionConfig(CalibrationConfig):
    """The model and the calibration text."""

    model: str = Field(
        description="smollm2-135m (embedded), a GGUF file, a Hugging Face folder, or a Hub id."
    )
    tie_head: bool = Field(
        False,
        description="For a GGUF that holds one matrix twice, as embedding and as head: keep the "
        "finer one for both.",
    )

    @property
    def tied(self) -> dict[str, Any]:
        """What the manifest says of a head that is kept once."""
        return {"tie_head": True} if self.tie_head else {}
