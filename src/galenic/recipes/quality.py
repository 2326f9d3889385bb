"""Quality figures of the model card: model and parent on a few held-out texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from galenic.bootstrap import Estimate
from galenic.evaluation.config import DivergenceConfig
from galenic.evaluation.divergence import Divergence, measure_divergence
from galenic.models.files import ModelFiles
from galenic.models.size import inspect_model
from galenic.recipes.card import Measurement

if TYPE_CHECKING:
    from galenic.watcher import Watcher

__all__ = ["measure_quality"]

NUM_SAMPLES, SEQ_LEN = 8, 256
"""Enough to detect damage within seconds; `galenic perplexity` measures more precisely."""


def measure_quality(
    model: ModelFiles, parent: ModelFiles, data: str, watcher: Watcher
) -> tuple[tuple[Measurement, ...], str]:
    """Measure perplexity, divergence and agreement on the held-out part of MedQuAD.

    Both models use the same engine, since engines round differently.

    Returns:
        The rows of the card, and the name of the text.

    Raises:
        UserError: the text is missing, or a model cannot be loaded.
    """
    both_gguf = model.kind == parent.kind == "gguf"
    lengths = [inspect_model(files).context_length for files in (model, parent)]
    values: dict[str, Any] = {
        "model": str(model.path),
        "data": data,
        "num_samples": NUM_SAMPLES,
        "seq_len": min([SEQ_LEN, *(length for length in lengths if length)]),
        "runtime": "llama" if both_gguf else "torch",
    }
    config = DivergenceConfig(**values)
    found = measure_divergence(model, parent, config, watcher)
    return tuple(_rows(found)), _source(found, config.runtime)


def _rows(found: Divergence) -> list[Measurement]:
    if found.reference is None or found.perplexity_per_reference_token is None:
        raise RuntimeError("nothing was compared")
    before, after = found.reference.perplexity, found.perplexity_per_reference_token
    rows = [Measurement("perplexity, per token of the parent", _show(before), _show(after))]
    if found.kl is not None:
        rows.append(Measurement("KL to the parent, nats a token", "–", _show(found.kl.mean)))
        rows.append(Measurement("same likeliest next token", "–", _show(found.kl.same_top)))
    return rows


def _source(found: Divergence, runtime: str) -> str:
    sources = ", ".join(one["source"] for one in found.text)
    return (
        f"{found.num_samples} sequences of {found.seq_len} tokens of {sources}, seed {found.seed}, "
        f"by the {runtime} runtime; in brackets 95 % intervals"
    )


def _show(value: Estimate) -> str:
    return f"{value.value:.3g} ({value.low:.3g} to {value.high:.3g})"
