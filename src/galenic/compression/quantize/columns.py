"""GPTQ's column loop: round a column, and compensate its error in the later columns.

Frantar, Ashkboos, Hoefler and Alistarh, GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers (2022), https://arxiv.org/abs/2210.17323. Symbols beside the code are the
paper's; the levels are those of `galenic.compression.quantize.grid` and `.lattice`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from galenic.compression.blocks.hessian import inverse_factor
from galenic.compression.quantize.grid import Grid, PlannedMatrix, Scales

if TYPE_CHECKING:
    from galenic.compression.blocks.statistics import Gram
    from galenic.compression.quantize.lattice import Lattice

__all__ = ["Problem", "one_thread", "read_problem", "solve", "solve_lattice"]


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
        weight: shape (rows, columns), float64; changed.
        problem: the Hessian of its inputs.
        grid: the levels.
        group_size: neighbouring columns that share a scale; divides the columns.
        block_size: columns rounded before the ones behind are changed; a multiple of the group.
    """
    import torch

    rows, columns = weight.shape
    in_order = bool((problem.order == torch.arange(columns)).all())
    parts = problem.importance.split(group_size)
    scales = Scales(*(torch.zeros(rows, columns // group_size) for _ in range(2)))
    codes = torch.zeros(rows, columns)

    def fit_(group: int, values: Any) -> None:
        fitted = grid.fit(values, parts[group])
        scales.scale[:, group], scales.minimum[:, group] = fitted.scale[:, 0], fitted.minimum[:, 0]

    def round_(column: int, block: Any, at: int) -> Any:
        group = column // group_size
        if in_order and column % group_size == 0:
            fit_(group, block[:, at : at + group_size])
        mine = Scales(scales.scale[:, group], scales.minimum[:, group])
        codes[:, column] = grid.round(block[:, at], mine)
        return grid.values(codes[:, column], mine)

    if not in_order:
        for group, values in enumerate(weight.split(group_size, dim=1)):
            fit_(group, values)
    _sweep(weight[:, problem.order], problem, block_size, round_)
    return PlannedMatrix(grid, codes, scales)


def solve_lattice(weight: Any, problem: Problem, lattice: Lattice, block_size: int) -> Lattice:
    """Round one weight to the levels of any type, its scales as they are.

    Args:
        weight: shape (rows, columns), float64; changed.
        problem: the Hessian of its inputs.
        lattice: of the weight as ggml rounds it.
        block_size: as `solve`.

    Returns:
        The lattice with other codes.
    """
    import torch

    steps, offsets = (torch.from_numpy(part) for part in (lattice.steps(), lattice.offsets()))
    width = weight.shape[1] // steps.shape[1]
    levels = torch.from_numpy(lattice.levels).double()
    middles = (levels[1:] + levels[:-1]) / 2
    codes = torch.zeros(weight.shape, dtype=torch.int16)

    def round_(column: int, block: Any, at: int) -> Any:
        step, offset = steps[:, column // width].double(), offsets[:, column // width].double()
        wanted = (block[:, at] - offset) / step.masked_fill(step == 0, 1)
        found = torch.bucketize(wanted, middles)
        codes[:, column] = found + lattice.lowest
        return levels[found] * step + offset

    _sweep(weight[:, problem.order], problem, block_size, round_)
    return replace(lattice, codes=codes.numpy())


def _sweep(
    weight: Any, problem: Problem, block_size: int, round_: Callable[[int, Any, int], Any]
) -> None:
    """Round column after column; the error is compensated by those behind, which change.

    Args:
        weight: columns in the order of the problem; changed.
        problem: its Hessian.
        block_size: columns rounded before the ones behind are changed.
        round_: given a column's number, a block of columns and its place in it, gives what the
            column becomes.
    """
    import torch

    columns = weight.shape[1]
    for start in range(0, columns, block_size):
        end = min(start + block_size, columns)
        block, factor = weight[:, start:end], problem.factor[start:end, start:end]
        errors = torch.zeros_like(block)
        for at, column in enumerate(problem.order[start:end].tolist()):
            missed = block[:, at] - round_(column, block, at)
            errors[:, at] = missed / factor[at, at]
            block[:, at + 1 :] -= errors[:, at, None] * factor[at, at + 1 :]
        weight[:, end:] -= errors @ problem.factor[start:end, end:]


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
