"""Tune the codes of a block to match the output of the dense block.

Uses signed gradient descent like Cheng et al. (https://arxiv.org/abs/2309.05516), starting from the
existing codes. The block's input is the output of the quantized blocks before it, and the target
is the dense block's output on dense inputs, so that errors of earlier blocks are corrected too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from galenic.compression.quantize.tuning.model import TunedModel, fast

__all__ = ["Samples", "tune_codes_"]

REACH = 0.5
"""Maximum movement of a weight, relative to the mean spacing of its type's levels."""
SCALE_RATE = 1e-3
"""Initial learning rate of the scale factors, decaying linearly to zero."""


@dataclass(frozen=True)
class Samples:
    """Input and target of a block, hidden states of shape (samples, seq_len, hidden).

    Attributes:
        tuned: input of the block: output of the quantized blocks before it.
        dense: target: output of the dense block.
        apart: number of samples at the end that are held out from training.
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
    """Tune a block in place; the result is kept only if it lowers the error on held-out samples.

    Args:
        model: the quantized model.
        index: index of the block.
        dense: returns a dense weight, given its name in transformers.
        samples: input and target of the block.
        settings: the block's other arguments.
        steps: number of training steps.
        batch_size: number of sequences per step.
        generator: random generator that chooses the sequences.

    Returns:
        Squared error on the held-out samples relative to the target's sum of squares, before and
        after tuning.
    """
    names = [name for _, name in model.of_block(index) if name in model.matrices]
    matrices = {name: model.matrices[name] for name in names}
    before = _error(model, index, samples, settings)
    opened = [matrix for name, matrix in matrices.items() if matrix.open_codes_(dense(name))]
    factors = [f for m in matrices.values() for f in (m.factor, m.min_factor) if f is not None]
    optimizer = torch.optim.Adam(factors, lr=SCALE_RATE)
    learnt = len(samples.tuned) - samples.apart
    for step in range(steps):
        left = 1 - step / steps  # all rates fall to 0
        chosen = torch.randperm(learnt, generator=generator)[:batch_size]
        with fast(samples.tuned.shape[-1]):
            found = model.run_block(index, samples.tuned[chosen], settings)
        target = samples.dense[chosen]
        # relative, so that the same rates suit every block
        loss = (found.float() - target).square().mean() / target.square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.param_groups[0]["lr"] = SCALE_RATE * left
        optimizer.step()
        with torch.no_grad():
            for matrix in opened:  # signed steps, which sum to about REACH: no code moves further
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
