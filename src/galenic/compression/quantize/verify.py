"""Verify a written GGUF by running it in llama.cpp and in transformers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from galenic.compression.quantize.agreement import Reference, measure_agreement
from galenic.compression.quantize.job import QuantizeJob
from galenic.errors import UserError
from galenic.models.gguf.copy import gguf_source
from galenic.models.gguf.header import check_gguf
from galenic.models.gguf.write import CHUNK_VALUES, GgufSource

__all__ = ["failed", "verify_gguf"]

LARGEST_CHANGE = 0.75
"""Largest accepted norm of a tensor's change, relative to its norm. Two-bit quantization changes
about a third; a wrong tensor or a wrong row order gives more than 1."""


def verify_gguf(job: QuantizeJob, path: Path) -> dict[str, float]:
    """Check that a file is complete, finite, close to the original, and runs alike in both engines.

    Returns:
        ``tensor_bytes``; ``weight_change``, the largest relative change of a tensor, and its limit
        ``largest_weight_change``; and ``logit_difference``, ``logit_rounding`` and ``tolerance`` of
        `galenic.compression.quantize.agreement.Agreement`.

    Raises:
        UserError: a check failed.
    """
    from galenic.models.paged import PagedModel

    header = check_gguf(path)
    written = gguf_source(path)
    change = _largest_change(job.source, written)
    types = {tensor.name: tensor.type for tensor in header.tensors}
    model: Reference
    if job.has_experts:
        from galenic.compression.quantize.whole import WholeModel

        model = WholeModel(job.checkpoint.folder, types)
        model.fill_(written)
    else:
        model = PagedModel(job.checkpoint, written)
    found = measure_agreement(model, path, types)
    if not found.holds:
        raise failed(
            f"llama.cpp and transformers differ by {found.difference:.2g} of the logits' spread, "
            f"where rounding explains at most {found.tolerance:.2g}"
        )
    return {
        "tensor_bytes": float(sum(tensor.num_bytes for tensor in header.tensors)),
        "weight_change": change,
        "largest_weight_change": LARGEST_CHANGE,
        "logit_difference": found.difference,
        "logit_rounding": found.rounding,
        "tolerance": found.tolerance,
    }


def failed(why: str) -> UserError:
    """Return the error for a failed check."""
    return UserError(f"the model was not saved: after reading it back, {why}. Nothing was kept.")


def _largest_change(before: GgufSource, after: GgufSource) -> float:
    found = {tensor.name: tensor for tensor in after.tensors}
    largest = 0.0
    for tensor in before.tensors:
        other = found.get(tensor.name)
        if other is None or other.shape != tensor.shape:
            raise failed(f"{tensor.name} is missing or misshapen")
        changed = norm = 0.0
        step = max(1, CHUNK_VALUES // math.prod(tensor.shape[1:]))
        for start in range(0, tensor.shape[0], step):
            stop = min(start + step, tensor.shape[0])
            values, original = other.read(start, stop), tensor.read(start, stop)
            if not np.isfinite(values).all():
                raise failed(f"{tensor.name} holds values that are not finite")
            changed += float(np.square(values - original, dtype=np.float64).sum())
            norm += float(np.square(original, dtype=np.float64).sum())
        share = math.sqrt(changed / norm) if norm else math.sqrt(changed)
        if share > LARGEST_CHANGE:
            raise failed(f"{tensor.name} differs by {share:.2f} of its norm from the original")
        largest = max(largest, share)
    return largest
