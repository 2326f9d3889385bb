"""The Hessian of a linear layer's output error, and the Cholesky factor of its inverse.

For inputs ``X``, changing a weight row by ``dw`` causes the squared output error ``dw H dw^T`` with
``H = X X^T``. ``U`` is the upper Cholesky factor of the inverse of ``H``. Row ``j`` of ``U`` is
proportional to the best update of the columns from ``j`` on when column ``j`` is changed and the
columns before it are fixed (https://arxiv.org/abs/2210.17323, section 3.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from galenic.errors import UserError

if TYPE_CHECKING:
    from galenic.compression.blocks.statistics import Statistic

__all__ = ["inverse_factor"]

SMALL = 256
"""Largest triangular matrix that is inverted without splitting it, in rows."""


def inverse_factor(
    statistic: Statistic, damping: float, order: Any | None = None
) -> tuple[Any, Any]:
    """Return the factor U of the damped Hessian's inverse, and a mask of inputs that are always 0.

    Uses float64, since the condition number can reach the number of inputs divided by the damping.

    Args:
        statistic: a `galenic.compression.blocks.statistics.Gram` of the inputs.
        damping: added to the diagonal, as a fraction of its mean.
        order: order in which the method processes the inputs, shape (inputs,); None: unchanged.

    Returns:
        Upper triangular U, shape (inputs, inputs), with ``U^T U`` equal to the inverse; and the
        mask, shape (inputs,). Both follow ``order``.

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
        # L L^T is the Hessian with rows and columns reversed, so U is L^-1 reversed: half the work
        # of inverting the Hessian and factorising the inverse
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
    """Invert a lower triangular matrix in place, recursively by halves."""
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
