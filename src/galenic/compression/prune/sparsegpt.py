"""SparseGPT: remove weights column by column, and update the later columns to compensate.

Frantar and Alistarh, SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot
(2023), https://arxiv.org/abs/2301.00774. Symbols are the paper's: changing a weight row by ``dw``
causes the output error ``dw H dw^T`` with ``H = X X^T``. The inverse of ``H`` is used through its
upper Cholesky factor ``U``: row ``j`` of ``U`` gives the update of the columns from ``j`` on that
best compensates the removal of column ``j``, once the columns before ``j`` are fixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from galenic.compression.blocks.hessian import inverse_factor
from galenic.compression.prune.base import ZeroingPruner
from galenic.compression.prune.masks import lowest_count, lowest_of_groups, removed_count
from galenic.errors import UserError
from galenic.models.layers import INPUT_OF, InputName, Linear

if TYPE_CHECKING:
    from galenic.compression.blocks.statistics import Statistic

__all__ = ["SparseGPT"]


class SparseGPT(ZeroingPruner):
    """Set weights to zero whose removal costs least after the others have been adjusted."""

    name = "sparsegpt"
    title = "least output error, other weights adjusted"
    reference_url = "https://arxiv.org/abs/2301.00774"

    damping: float = Field(
        0.01,
        gt=0,
        le=1,
        description="Damping added to the diagonal of the Hessian, as a fraction of its mean.",
    )
    block_size: int = Field(128, ge=1, description="Columns whose mask is chosen together.")

    @model_validator(mode="after")
    def _whole_groups(self) -> SparseGPT:
        if self.group and self.block_size % self.group[1]:
            raise UserError(
                f"--block-size {self.block_size} is not a multiple of the {self.group[1]} of "
                f"--pattern {self.pattern}: a group must not lie in two blocks."
            )
        return self

    @property
    def calibrated(self) -> bool:
        return True

    def statistic(self, num_inputs: int) -> Statistic:
        from galenic.compression.blocks.statistics import Gram

        return Gram(num_inputs)

    def zero_block_(
        self, linears: Sequence[Linear], inputs: Mapping[InputName, Statistic], share: float
    ) -> None:
        for name, statistic in inputs.items():  # layers with the same input share an inverse
            factor, dead = inverse_factor(statistic, self.damping)
            for linear in linears:
                if INPUT_OF[linear.role] == name:
                    weight = linear.weight.double()
                    weight[:, dead] = 0
                    self._remove_(weight, factor, share)
                    linear.weight.copy_(weight)

    def _remove_(self, weight: Any, factor: Any, share: float) -> None:
        """Prune a weight (rows, columns) in place; ``factor`` is U of the inverse Hessian."""
        rows, columns = weight.shape
        removed = 0
        for start in range(0, columns, self.block_size):
            end = min(start + self.block_size, columns)
            # computed from the running total, so that the count over all blocks is exact
            wanted = removed_count(rows * end, share) - removed
            errors = self._remove_block_(weight[:, start:end], factor[start:end, start:end], wanted)
            weight[:, end:] -= errors @ factor[start:end, end:]
            removed += wanted

    def _remove_block_(self, block: Any, factor: Any, wanted: int) -> Any:
        """Prune a block of adjacent columns in place; return the errors for later columns.

        ``block`` and ``factor`` are both restricted to these columns.
        """
        import torch

        diagonal = factor.diagonal()
        errors = torch.zeros_like(block)
        mask = lowest_count((block / diagonal).square(), 0 if self.group else wanted)
        for column in range(block.shape[1]):
            if self.group and column % self.group[1] == 0:  # chosen here to see the updated weights
                group = slice(column, column + self.group[1])
                scores = (block[:, group] / diagonal[group]).square()
                mask[:, group] = lowest_of_groups(scores, *self.group)
            gone = block[:, column] * mask[:, column]
            errors[:, column] = gone / diagonal[column]
            block[:, column:] -= errors[:, column, None] * factor[column, column:]
            block[:, column].masked_fill_(mask[:, column], 0)  # exact zeros, without rounding error
        return errors
