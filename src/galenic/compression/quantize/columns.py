"""GPTQ's column loop: round a column, and compensate its error in the later columns.

Frantar, Ashkboos, Hoefler and Alistarh, GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers (2022), https://arxiv.org/abs/2210.17323. Symbols beside the code are the
paper's; the levels are those of `galenic.compression.quantize.grid`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from galenic.compression.blocks.hessian import inverse_factor
from galenic.compression.quantize.grid import Grid, PlannedMatrix, Scales

if TYPE_CHECKING:
    from galenic.compression.blocks.statistics import Gram

__all__ = ["Problem", "one_thread", "read_problem", "solve"]


@dataclass(frozen=True)
class Problem:
    """What all linear maps that read the same input share.

    Attributes:
        order: in which the columns are rounded, shape (columns,).
        factor: U of the inverse Hessian, in that order.
        importance: of the error of each column, in the order of the weight: ``1 / U_jj^2``, which
            is what the error of a column costs once the columns behind have made up for it.
    """

    order: Any
    factor: Any
    importance: Any


def read_problem(statistic: Gram, damping: float, *, act_order: bool) -> Problem:
    """Order, factor and importance of the columns that read an input.

    Args:
        statistic: a `galenic.compression.blocks.statistics.Gram` of the input.
        damping: added to the diagonal of the Hessian, as a share of its mean.
        act_order: columns with the largest activations first.

    Raises:
        UserError: the damped Hessian is not positive definite.
    """
    import torch

    diagonal = statistic.total.diagonal()
    order = torch.arange(len(diagonal))
    if act_order:
        order = diagonal.argsort(descending=True, stable=True)
    factor, _ = inverse_factor(statistic, damping, order)
    importance = torch.empty_like(factor.diagonal())
    importance[order] = factor.diagonal() ** -2
    return Problem(order, factor, importance)


def solve(
    weight: Any, problem: Problem, grid: Grid, group_size: int, block_size: int
) -> PlannedMatrix:
    """Round one weight.

    Where the columns are taken as they stand, the scale of a group is fitted when its first column
    is reached, to the weights as changed so far; otherwise all scales are fitted at the start.

    Args:
        weight: shape (rows, columns), float64; changed.
        problem: the Hessian of its inputs.
        grid: the levels.
        group_size: neighbouring columns that share a scale; divides the columns.
        block_size: columns rounded before the ones behind are changed; a multiple of the group.
    """
    import torch

    rows, columns = weight.shape
    order = problem.order
    in_order = bool((order == torch.arange(columns)).all())
    parts = problem.importance.split(group_size)
    scales = Scales(*(torch.zeros(rows, columns // group_size) for _ in range(2)))

    def fit_(group: int, values: Any) -> None:
        fitted = grid.fit(values, parts[group])
        scales.scale[:, group], scales.minimum[:, group] = fitted.scale[:, 0], fitted.minimum[:, 0]

    if not in_order:
        for group, values in enumerate(weight.split(group_size, dim=1)):
            fit_(group, values)
    weight = weight[:, order]
    codes = torch.zeros(rows, columns)
    for start in range(0, columns, block_size):
        end = min(start + block_size, columns)
        block, factor = weight[:, start:end], problem.factor[start:end, start:end]
        errors = torch.zeros_like(block)
        for at, column in enumerate(order[start:end].tolist()):
            group = column // group_size
            if in_order and column % group_size == 0:
                fit_(group, block[:, at : at + group_size])
            mine = Scales(scales.scale[:, group], scales.minimum[:, group])
            codes[:, column] = grid.round(block[:, at], mine)
            missed = block[:, at] - grid.values(codes[:, column], mine)
            errors[:, at] = missed / factor[at, at]
            block[:, at + 1 :] -= errors[:, at, None] * factor[at, at + 1 :]
        weight[:, end:] -= errors @ problem.factor[start:end, end:]
    return PlannedMatrix(grid, codes, scales)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep PyTorch on one thread: columns are so small that waiting for a second costs far more."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
