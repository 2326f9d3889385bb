"""Magnitude pruning: remove the smallest weights, without regard to their inputs.

Han et al., Learning both Weights and Connections for Efficient Neural Networks (2015),
https://arxiv.org/abs/1506.02626. "Prescription for Efficiency" removed 20 % of each level this way,
and the model collapsed; the method is included so that this can be reproduced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from galenic.compression.prune.base import ZeroingPruner
from galenic.compression.prune.masks import (
    lowest,
    lowest_of_groups,
    lowest_per_row,
    lowest_together,
)
from galenic.errors import UserError
from galenic.models.layers import InputName, Linear

if TYPE_CHECKING:
    from galenic.compression.blocks.statistics import Statistic

__all__ = ["Magnitude"]


class Magnitude(ZeroingPruner):
    """Set the weights, or whole output neurons, of least magnitude to zero."""

    name = "magnitude"
    title = "smallest weights"
    reference_url = "https://arxiv.org/abs/1506.02626"

    scope: Literal["row", "layer", "block"] = Field(
        "layer",
        description="Compare weights within each output row, each linear layer, or all linear "
        "layers of a block.",
    )
    neurons: bool = Field(
        False,
        description="Remove whole output neurons (rows and their biases) of each linear layer by "
        "L2 norm, instead of single weights.",
    )

    @model_validator(mode="after")
    def _fitting(self) -> Magnitude:
        if self.neurons and (self.group or self.scope != "layer"):
            raise UserError("--neurons works with --scope layer and --pattern unstructured only.")
        if self.group and self.scope != "layer":
            raise UserError(
                f"--scope {self.scope} and --pattern {self.pattern} contradict each other: the "
                "pattern is sought in groups of neighbouring inputs. Leave --scope out."
            )
        return self

    @property
    def calibrated(self) -> bool:
        return False

    def zero_block_(
        self, linears: Sequence[Linear], inputs: Mapping[InputName, Statistic], share: float
    ) -> None:
        if self.scope == "block":
            masks = lowest_together([linear.weight.abs() for linear in linears], share)
        else:
            masks = [self._mask(linear.weight.abs(), share) for linear in linears]
        for linear, mask in zip(linears, masks, strict=True):
            linear.weight.masked_fill_(mask, 0)
            if self.neurons and linear.bias is not None:
                linear.bias.masked_fill_(mask[:, 0], 0)  # or the neuron still outputs its bias

    def _mask(self, magnitudes: Any, share: float) -> Any:
        if self.neurons:
            gone = lowest(magnitudes.double().norm(dim=1), share)
            return gone[:, None].expand_as(magnitudes)
        if self.group:
            return lowest_of_groups(magnitudes, *self.group)
        return (lowest_per_row if self.scope == "row" else lowest)(magnitudes, share)
