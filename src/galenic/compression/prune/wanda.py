"""Wanda: scores weights by magnitude times input norm, compared within each output row.

Sun et al., A Simple and Effective Pruning Approach for Large Language Models (2023),
https://arxiv.org/abs/2306.11695.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from galenic.compression.prune.base import ZeroingPruner
from galenic.compression.prune.masks import lowest_of_groups, lowest_per_row
from galenic.models.layers import INPUT_OF, InputName, Linear

if TYPE_CHECKING:
    from galenic.compression.blocks.statistics import Statistic

__all__ = ["Wanda"]


class Wanda(ZeroingPruner):
    """Set the weights with the lowest ``|W| * ||x||_2`` in each output row to zero."""

    name = "wanda"
    title = "least |weight| x input norm in each row"
    reference_url = "https://arxiv.org/abs/2306.11695"

    @property
    def calibrated(self) -> bool:
        return True

    def statistic(self, num_inputs: int) -> Statistic:
        from galenic.compression.blocks.statistics import SecondMoments

        return SecondMoments(num_inputs)

    def zero_block_(
        self, linears: Sequence[Linear], inputs: Mapping[InputName, Statistic], share: float
    ) -> None:
        for linear in linears:
            mask = self._mask(linear.weight, inputs[INPUT_OF[linear.role]], share)
            linear.weight.masked_fill_(mask, 0)

    def _mask(self, weight: Any, statistic: Statistic, share: float) -> Any:
        from galenic.compression.blocks.statistics import SecondMoments

        if not isinstance(statistic, SecondMoments):
            raise TypeError(f"Wanda needs second moments, not {statistic!r}")
        scores = weight.abs().double() * statistic.norms  # (outputs, inputs)
        if self.group:
            return lowest_of_groups(scores, *self.group)
        return lowest_per_row(scores, share)
