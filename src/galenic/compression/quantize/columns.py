"""GPTQ's column loop: round a column, and compensate its error in the later columns.

Frantar, Ashkboos, Hoefler and Alistarh, GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers (2022), https://arxiv.org/abs/2210.17323. Symbols beside the code are the
paper's; the levels are those of `galenic.compression.quantize.types`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from galenic.compression.blocks.hessian import inverse_factor
from galenic.compression.quantize.types.grid import Grid, PlannedMatrix, Scales

if TYPE_CHECKING:
    from galenic.compression.blocks.statistics import Gram
    from galenic.compression.quantize.types.lattice import Lattice

__all__ = ["Problem", "one_thread", "read_problem", "solve", "solve_lattice"]

RUN = 32
"""Columns within a block that are changed at once; divides every group."""


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
    """Round one weight to the levels of a small block type.

    Where the columns are taken as they stand, the scale of a group is fitted when its first column
    is reached, to the weights as changed so far; otherwise all scales are fitted at the start.

    Args:
        weight: shape (rows, columns), float64.
        problem: the Hessian of its inputs.
        grid: the levels.
        group_size: neighbouring columns that share a scale; divides the columns.
        block_size: columns rounded before the ones behind are changed; a multiple of the group.
    """
    import torch

    rows, columns = weight.shape
    in_order = bool((problem.order == torch.arange(columns)).all())
    parts = problem.importance.split(group_size)
    # by group and by column, for a column is all that is looked at
    scales = Scales(*(torch.zeros(columns // group_size, rows) for _ in range(2)))
    codes = torch.zeros(columns, rows)

    def fit_(group: int, values: Any) -> None:
        fitted = grid.fit(values, parts[group])
        scales.scale[group], scales.minimum[group] = fitted.scale[:, 0], fitted.minimum[:, 0]

    def round_(column: int, behind: Any) -> Any:
        group = column // group_size
        if in_order and column % group_size == 0:
            fit_(group, behind[:group_size].T.contiguous())
        mine = Scales(scales.scale[group], scales.minimum[group])
        codes[column] = grid.round(behind[0], mine)
        return grid.values(codes[column], mine)

    if not in_order:
        for group, values in enumerate(weight.split(group_size, dim=1)):
            fit_(group, values)
    _sweep(weight, problem, block_size, round_)
    found = Scales(scales.scale.T.contiguous(), scales.minimum.T.contiguous())
    return PlannedMatrix(grid, codes.T.contiguous(), found)


def solve_lattice(weight: Any, problem: Problem, lattice: Lattice, block_size: int) -> Lattice:
    """Round one weight to the levels of any type, its scales as they are.

    Args:
        weight: shape (rows, columns), float64.
        problem: the Hessian of its inputs.
        lattice: of the weight as ggml rounds it.
        block_size: as `solve`.

    Returns:
        The lattice with other codes.
    """
    import torch

    steps, offsets = (
        torch.from_numpy(part).double().T.contiguous()
        for part in (lattice.steps(), lattice.offsets())
    )
    width = weight.shape[1] // steps.shape[0]
    levels = torch.from_numpy(lattice.levels).double()
    middles = (levels[1:] + levels[:-1]) / 2
    codes = torch.zeros(weight.shape[::-1], dtype=torch.int16)

    def round_(column: int, behind: Any) -> Any:
        step, offset = steps[column // width], offsets[column // width]
        wanted = (behind[0] - offset) / step.masked_fill(step == 0, 1)
        found = torch.bucketize(wanted, middles)
        codes[column] = found + lattice.lowest
        return levels[found] * step + offset

    _sweep(weight, problem, block_size, round_)
    return replace(lattice, codes=np.ascontiguousarray(codes.T.numpy()))


def _sweep(
    weight: Any, problem: Problem, block_size: int, round_: Callable[[int, Any], Any]
) -> None:
    """Round column after column; the error is compensated by those behind, which change.

    A column of the weight is a row here, so that it lies in memory in one piece. Of a block, the
    columns of a run are changed at once, the others when the run is done.

    Args:
        weight: shape (rows, columns), in its own order.
        problem: its Hessian.
        block_size: columns rounded before the ones behind the block are changed.
        round_: given a column's number, and what is left of its block from it on, shape (columns,
            rows), gives what the column becomes.
    """
    import torch

    columns = weight.shape[1]
    turned = weight.T[problem.order]
    for start in range(0, columns, block_size):
        end = min(start + block_size, columns)
        block, factor = turned[start:end], problem.factor[start:end, start:end]
        errors = torch.zeros_like(block)
        for at, column in enumerate(problem.order[start:end].tolist()):
            run_end = at - at % RUN + RUN
            missed = block[at] - round_(column, block[at:])
            errors[at] = missed / factor[at, at]
            block[at + 1 : run_end].addr_(factor[at, at + 1 : run_end], errors[at], alpha=-1)
            if at + 1 == run_end:
                run = slice(run_end - RUN, run_end)
                block[run_end:].addmm_(factor[run, run_end:].T, errors[run], alpha=-1)
        turned[end:].addmm_(problem.factor[start:end, end:].T, errors, alpha=-1)


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
