"""GPTQ's column loop: round a column, and compensate its error in the later columns.

Frantar, Ashkboos, Hoefler and Alistarh, GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers (2022), https://arxiv.org/abs/2210.17323. Symbols are the paper's; the
levels to round to come from `galenic.compression.quantize.types`.
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
"""Number of columns within a block that are updated immediately; divides every group size."""


@dataclass(frozen=True)
class Problem:
    """Data shared by all linear layers with the same input.

    Attributes:
        order: order in which the columns are rounded, shape (columns,).
        factor: Cholesky factor U of the inverse Hessian, in that order.
        importance: weight of each column's squared error, in the weight's own order:
            ``1 / U_jj^2``, the cost that remains after later columns have compensated the error.
    """

    order: Any
    factor: Any
    importance: Any


def read_problem(statistic: Gram, damping: float, *, act_order: bool) -> Problem:
    """Compute order, factor and importance of the columns for an input.

    Args:
        statistic: `galenic.compression.blocks.statistics.Gram` of the input.
        damping: added to the diagonal of the Hessian, as a fraction of its mean.
        act_order: round the columns with the largest activations first.

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
    """Round a weight to the levels of a block type of 32 weights, fitting the scales.

    If columns are rounded in their natural order, the scale of a group is fitted when its first
    column is reached, to the weights as updated so far; otherwise all scales are fitted first.

    Args:
        weight: shape (rows, columns), float64.
        problem: data of its inputs, from `read_problem`.
        grid: the levels.
        group_size: number of adjacent columns that share a scale; divides the columns.
        block_size: columns rounded before later ones are updated; a multiple of ``group_size``.
    """
    import torch

    rows, columns = weight.shape
    in_order = bool((problem.order == torch.arange(columns)).all())
    parts = problem.importance.split(group_size)
    # transposed, since the loop works on one column at a time
    scales = Scales(*(torch.zeros(columns // group_size, rows) for _ in range(2)))
    codes = torch.zeros(columns, rows)

    def fit_(group: int, values: Any) -> None:
        fitted = grid.fit(values, parts[group])
        scales.scale[group], scales.minimum[group] = fitted.scale[:, 0], fitted.minimum[:, 0]

    def round_(column: int, behind: Any) -> Any:
        group = column // group_size
        if in_order and column % group_size == 0:  # as late as possible: errors are compensated
            fit_(group, behind[:group_size].T.contiguous())
        mine = Scales(scales.scale[group], scales.minimum[group])
        codes[column] = grid.round(behind[0], mine)
        return grid.values(codes[column], mine)

    if not in_order:  # a group's columns are spread over the sweep: fit before it begins
        for group, values in enumerate(weight.split(group_size, dim=1)):
            fit_(group, values)
    _sweep(weight, problem, block_size, round_)
    found = Scales(scales.scale.T.contiguous(), scales.minimum.T.contiguous())
    return PlannedMatrix(grid, codes.T.contiguous(), found)


def solve_lattice(weight: Any, problem: Problem, lattice: Lattice, block_size: int) -> Lattice:
    """Round a weight to the levels of any type, keeping given scales.

    Args:
        weight: shape (rows, columns), float64.
        problem: data of its inputs, from `read_problem`.
        lattice: the weight as rounded by ggml, which determines the scales.
        block_size: see `solve`.

    Returns:
        The lattice with new codes.
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
        wanted = (behind[0] - offset) / step.masked_fill(
            step == 0, 1
        )  # blocks of zeros have step 0
        found = torch.bucketize(wanted, middles)  # the nearest level
        codes[column] = found + lattice.lowest
        return levels[found] * step + offset

    _sweep(weight, problem, block_size, round_)
    return replace(lattice, codes=np.ascontiguousarray(codes.T.numpy()))


def _sweep(
    weight: Any, problem: Problem, block_size: int, round_: Callable[[int, Any], Any]
) -> None:
    """Round one column after another, updating the later columns to compensate each error.

    Works on the transposed weight, so that a column is contiguous. Within a block, the columns of
    the current run (`RUN`) are updated immediately, and the others when the run is done.

    Args:
        weight: shape (rows, columns), in natural order of the columns.
        problem: data of its inputs.
        block_size: columns rounded before the columns after the block are updated.
        round_: returns the rounded column, given its index and the rest of its block starting
            with it, shape (columns, rows).
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
            errors[at] = missed / factor[at, at]  # U_jj: the update is a row of the factor
            # One column at a time is bound by memory, so only the run is updated now; the rest
            # follows in matrix products (the paper's lazy batch updates, section 3.3).
            block[at + 1 : run_end].addr_(factor[at, at + 1 : run_end], errors[at], alpha=-1)
            if at + 1 == run_end:
                run = slice(run_end - RUN, run_end)
                block[run_end:].addmm_(factor[run, run_end:].T, errors[run], alpha=-1)
        turned[end:].addmm_(problem.factor[start:end, end:].T, errors, alpha=-1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run PyTorch on one thread: for operations as small as a column, more threads are slower."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
