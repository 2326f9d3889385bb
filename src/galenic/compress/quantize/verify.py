"""A GGUF read back after it was written: by llama.cpp, and by transformers block by block."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galenic.compress.quantize.base import QuantizeJob
from galenic.errors import UserError
from galenic.models.gguf import check_gguf
from galenic.models.gguf_copy import gguf_source
from galenic.models.gguf_write import CHUNK_VALUES, GgufSource

if TYPE_CHECKING:
    from galenic.models.paged import PagedModel

__all__ = ["TOLERANCE", "failed", "verify_gguf"]

CHECKED_TOKENS = 32
READ_AT = (8, 16, 24, 32)
"""After how many of the tokens the predictions of both runtimes are compared."""
TOLERANCE = 0.2
"""Largest accepted distance of llama.cpp's logits from those of transformers with the same weights:
root mean square of the difference, as a share of the spread (standard deviation) of the logits.
llama.cpp rounds activations to 8 bits before each product; that alone gives 0.01 to 0.05."""
LARGEST_CHANGE = 0.75
"""Largest accepted norm of what quantizing changed in a tensor, as a share of the tensor's norm.
Two bits change about a third; another tensor, or one of another row order, more than the whole."""


def verify_gguf(job: QuantizeJob, path: Path) -> dict[str, float]:
    """Check that a file is whole, finite, close to what it was made from, and runs in both engines.

    Returns:
        ``tensor_bytes``; ``weight_change``: the largest of a tensor, as a share of its norm;
        ``logit_difference`` of the two runtimes, and its ``tolerance``.

    Raises:
        UserError: something is not as it should be.
    """
    from galenic.models.paged import PagedModel

    header = check_gguf(path)
    written = gguf_source(path)
    change = _largest_change(job.source, written)
    model = PagedModel(job.checkpoint, written)
    difference = _compare(model, path)
    return {
        "tensor_bytes": float(sum(tensor.num_bytes for tensor in header.tensors)),
        "weight_change": change,
        "largest_weight_change": LARGEST_CHANGE,
        "logit_difference": difference,
        "tolerance": TOLERANCE,
    }


def failed(why: str) -> UserError:
    """The error of a check: nothing is kept."""
    return UserError(f"the model was not saved, for read back {why}. Nothing was kept.")


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


def _compare(model: PagedModel, path: Path) -> float:
    import torch

    from galenic.runtimes.llama_engine import LlamaEngine
    from galenic.runtimes.selftest import verified_library
    from galenic.runtimes.threads import choose_threads

    config = model.layout.model.config
    length = min(CHECKED_TOKENS, int(config.max_position_embeddings) // 2)
    tokens = np.random.default_rng(0).integers(int(config.vocab_size), size=length)
    expected = model.logits(torch.from_numpy(tokens)[None])[0].double().numpy()
    engine = LlamaEngine(verified_library(), path, threads=choose_threads())
    try:
        ends = sorted({min(end, length) for end in READ_AT})
        differences = [
            _distance(engine.start(tokens[:end].tolist(), room=1), expected[end - 1])
            for end in ends
        ]
    finally:
        engine.close()
    worst = max(differences)
    if not worst <= TOLERANCE:  # also when it is not a number
        raise failed(f"llama.cpp and transformers differ by {worst:.2g} of the logits' spread")
    return worst


def _distance(found: NDArray[Any], expected: NDArray[np.float64]) -> float:
    """Root mean square of the difference over the spread; a common shift changes no probability."""
    difference = found.astype(np.float64) - expected
    spread = float(expected.std())
    if not spread or not np.isfinite(difference).all():
        return math.nan
    return float(difference.std() / spread)
