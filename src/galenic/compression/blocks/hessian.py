"""The Hessian of a linear map's output error, and the factor of its inverse that methods use.

For a weight row ``w`` and inputs ``X``, changing the row by ``dw`` changes the output by
``dw H dw^T`` with ``H = X X^T``. With ``U`` the upper Cholesky factor of the inverse, row ``j`` of
``U`` is what changing column ``j`` asks of the columns from ``j`` on, once the columns before ``j``
are fixed (https://arxiv.org/abs/2210.17323, section 3.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from galenic.errors import UserError

if TYPE_CHECKING:
    from galenic.compression.blocks.statistics import Statistic

__all__ = ["inverse_factor"]

SMALL = 256
"""Rows of a triangular matrix that are inverted at once."""


def inverse_factor(
    statistic: Statistic, damping: float, order: Any | None = None
) -> tuple[Any, Any]:
    """U of the damped Hessian's inverse, and a mask of the inputs that were always zero.

    In float64: the Hessian's condition reaches the number of inputs over the damping.

    Args:
        statistic: a `galenic.compression.blocks.statistics.Gram`.
        damping: added to the diagonal, as a share of its mean.
        order: the order in which the inputs are visited, shape (inputs,); None = as they stand.

    Returns:
        Upper triangular U, shape (inputs, inputs), with ``U^T U`` = the inverse; mask (inputs,).
        Both in the order of the visit.

    Raises:
        UserError: the damped Hessian is not positive definite.
    """
    import torch

    from galenic.compression.blocks.statistics import Gram

    if not isinstance(statistic, Gram):
        raise TypeError(f"a Gram matrix is needed, not {statistic!r}")
    order = torch.arange(len(statistic.total)) if order is None else order
    backwards = order.flip(0)
    hessian = statistic.total[backwards[:, None], backwards].double()
    diagonal = hessian.diagonal()  # a view: writing to it changes the Hessian
    dead = diagonal == 0
    diagonal[dead] = 1
    diagonal += damping * diagonal.mean()
    try:
        # of the Hessian back to front L L^T, and so U = L^-1 back to front: half the work of
        # inverting the Hessian and factoring that
        factor = torch.linalg.cholesky(hessian)
    except torch.linalg.LinAlgError as error:
        raise UserError(
            f"the Hessian cannot be inverted with --damping {damping:g}. Raise it, or calibrate "
            "on more text."
        ) from error
    del hessian, diagonal
    _invert_lower_(factor)
    return factor.flip(0, 1), dead.flip(0)


def _invert_lower_(factor: Any) -> None:
    """Replace a lower triangular matrix by its inverse, by halves."""
    import torch

    size = len(factor)
    if size <= SMALL:
        whole = torch.eye(size, dtype=factor.dtype)
        factor.copy_(torch.linalg.solve_triangular(factor, whole, upper=False))
        return
    half = size // 2
    first, second, below = factor[:half, :half], factor[half:, half:], factor[half:, :half]
    _invert_lower_(first)
    _invert_lower_(second)
    below.copy_((second @ (below @ first)).neg_())
