"""Options of `galenic prune` other than those of the method."""

from __future__ import annotations

from pydantic import Field

from galenic.compression.config import CompressionConfig
from galenic.registry import PRUNERS

__all__ = ["PruneConfig"]


class PruneConfig(CompressionConfig):
    """The method's name and what follows the method, besides model and text."""

    method: str = Field("wanda", description=f"One of: {', '.join(PRUNERS)}.")
    reconstruct: bool = Field(
        False,
        description="After pruning, fit the last linear layer of each block by least squares, so "
        "that the block's output matches the dense model's on the calibration text "
        "(width, depth).",
    )
    steps: int = Field(
        1,
        ge=1,
        description="Prune in this many equal steps, reconstructing after each (width, depth). "
        "For sparsity 0.2, 4 works well.",
    )

    @property
    def heals(self) -> bool:
        """Whether blocks are fitted to the dense model's after pruning."""
        return self.reconstruct or self.steps > 1
