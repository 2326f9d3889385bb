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
    hessian = statistic.total.to(torch.float64, copy=True)
    if order is not None:
        hessian = hessian[order][:, order]
    diagonal = hessian.diagonal()  # a view: writing to it changes the Hessian
    dead = diagonal == 0
    diagonal[dead] = 1
    diagonal += damping * diagonal.mean()
    try:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
        return torch.linalg.cholesky(inverse, upper=True), dead
    except torch.linalg.LinAlgError as error:
        raise UserError(
            f"the Hessian cannot be inverted with --damping {damping:g}. Raise it, or calibrate "
            "on more text."
        ) from error
