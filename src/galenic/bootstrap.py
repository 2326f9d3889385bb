"""Bootstrap intervals that resample whole sequences, since tokens of one text are dependent.

B. Efron, Annals of Statistics 7:1 (1979), https://doi.org/10.1214/aos/1176344552; percentile
intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Estimate", "ratio_estimate"]

ROUNDS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, ``low`` to ``high``."""

    value: float
    low: float
    high: float


def ratio_estimate(
    sums: Sequence[float],
    counts: Sequence[float],
    seed: int,
    transform: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
) -> Estimate:
    """Estimate ``transform(Σ sums / Σ counts)`` over sequences, with its interval.

    Args:
        sums: numerator of each sequence, shape (n,).
        counts: denominator of each sequence, shape (n,).
        seed: seed of the resampling; equal seeds draw the same sequences, for paired estimates.
        transform: elementwise, monotone function of the ratio; None = identity.

    Raises:
        ValueError: the counts sum to zero.
    """
    import numpy as np

    above, below = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if not below.sum() > 0:
        raise ValueError("no counts")
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(above), size=(ROUNDS, len(above)))
    total = below[drawn].sum(axis=1)
    filled = total > 0  # a sequence may have count zero
    ratios = above[drawn].sum(axis=1)[filled] / total[filled]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    three = np.array([above.sum() / below.sum(), low, high])
    value, low, high = three if transform is None else transform(three)
    return Estimate(float(value), float(low), float(high))
