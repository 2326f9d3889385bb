"""Codes of one block tuned so that it puts out what the dense block does.

By the signs of gradients, as Cheng et al. do (https://arxiv.org/abs/2309.05516), from the codes
that are there. The block reads what the quantized ones before it put out and is compared with the
dense block on dense inputs, so that it also corrects the errors before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from galenic.compression.quantize.tuning.model import TunedModel, fast

__all__ = ["Samples", "tune_codes_"]

REACH = 0.5
"""How far, in steps of its type, a weight moves at most."""
SCALE_RATE = 1e-3
"""Learning rate of the factors of scales, falling to nothing."""


@dataclass(frozen=True)
class Samples:
    """Hidden states at one boundary of blocks, shape (samples, seq_len, hidden).

    Attributes:
        tuned: what the quantized blocks put out; becomes what the next one does.
        dense: what the dense ones do.
        apart: how many of the last samples nothing is learnt from.
    """

    tuned: Any
    dense: Any
    apart: int


def tune_codes_(
    model: TunedModel,
    index: int,
    dense: Callable[[str], Any],
    samples: Samples,
    settings: dict[str, Any],
    *,
    steps: int,
    batch_size: int,
    generator: Any,
) -> tuple[float, float]:
    """Tune a block; kept only where the error on the samples apart is smaller than before.

    Args:
        model: holds the block.
        index: of the block.
        dense: gives its dense weights by transformers name.
        samples: ``tuned`` is what enters the block, ``dense`` what it should put out.
        settings: its other inputs.
        steps: of tuning.
        batch_size: sequences in a step.
        generator: of the order of the sequences.

    Returns:
        Mean squared error over the samples apart, as a share of the target's, before and after.
    """
    names = [name for _, name in model.of_block(index) if name in model.matrices]
    matrices = {name: model.matrices[name] for name in names}
    before = _error(model, index, samples, settings)
    opened = [matrix for name, matrix in matrices.items() if matrix.open_codes_(dense(name))]
    factors = [f for m in matrices.values() for f in (m.factor, m.min_factor) if f is not None]
    optimizer = torch.optim.Adam(factors, lr=SCALE_RATE)
    learnt = len(samples.tuned) - samples.apart
    for step in range(steps):
        left = 1 - step / steps
        chosen = torch.randperm(learnt, generator=generator)[:batch_size]
        with fast(samples.tuned.shape[-1]):
            found = model.run_block(index, samples.tuned[chosen], settings)
        target = samples.dense[chosen]
        loss = (found.float() - target).square().mean() / target.square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.param_groups[0]["lr"] = SCALE_RATE * left
        optimizer.step()
        with torch.no_grad():
            for matrix in opened:
                rate = 2 * REACH / steps * left * matrix.spacing
                matrix.places -= rate * matrix.places.grad.sign()
                matrix.places.grad = None
    after = _error(model, index, samples, settings)
    for matrix in matrices.values():
        matrix.close_codes_(keep=after < before)
    return before, min(before, after)


def _error(model: TunedModel, index: int, samples: Samples, settings: dict[str, Any]) -> float:
    missed = total = 0.0
    with torch.no_grad():
        for number in range(len(samples.tuned) - samples.apart, len(samples.tuned)):
            with fast(samples.tuned.shape[-1]):
                found = model.run_block(index, samples.tuned[number : number + 1], settings)
            target = samples.dense[number : number + 1]
            missed += float((found.float() - target).square().sum())
            total += float(target.square().sum())
    return missed / total if total else 0.0
