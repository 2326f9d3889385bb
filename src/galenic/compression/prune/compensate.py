"""Least-squares compensation of pruned inputs of a linear layer.

Let ``G = sum x x^T`` over calibration tokens, ``K`` the kept and ``R`` the removed inputs. The
weights ``W_K + W_R G_RK (G_KK + d I)^-1`` minimise the squared output error, plus a penalty ``d``
on the distance from ``W_K``: ridge regression of the lost output on the kept inputs.
"""

from __future__ import annotations

from typing import Any

__all__ = ["compensate_"]


def compensate_(linear_weight: Any, gram: Any, kept: Any, damping: float) -> None:
    """Correct the kept columns of a weight in place, and set the others to zero.

    Args:
        linear_weight: shape (outputs, inputs).
        gram: shape (inputs, inputs): sum over tokens of the outer product of the inputs.
        kept: indices of the columns to keep.
        damping: added to the diagonal, as a fraction of its mean; above 0.
    """
    import torch

    gone = torch.ones(len(gram), dtype=torch.bool)
    gone[kept] = False
    weight, moments = linear_weight.double(), gram.double()
    lost = weight[:, gone] @ moments[gone][:, kept]  # (outputs, kept)
    among = moments[kept][:, kept].clone()
    shift = damping * float(among.diagonal().mean())
    if shift > 0:  # otherwise the kept inputs are all zero and cannot compensate
        among.diagonal().add_(shift)
        factor = torch.linalg.cholesky(among)
        weight[:, kept] += torch.cholesky_solve(lost.T, factor).T
    weight[:, gone] = 0
    linear_weight.copy_(weight)
