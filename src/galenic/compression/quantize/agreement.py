"""Check that llama.cpp and transformers predict the same with a GGUF; if not, its layout is wrong.

llama.cpp rounds the inputs of matrix products (to 8 bits if the weights are quantized), and the
effect on predictions varies a hundredfold between models. So a fixed tolerance cannot tell rounding
from an error. Instead, transformers runs the text twice, without rounding and with inputs rounded
like llama.cpp's; the difference of the two determines how far llama.cpp may differ. In a
mixture-of-experts model, rounding may by chance change which experts are chosen: such a model is
also run `DRAWS` times with random errors, scaled by `ROUNDING_FACTOR`, and the largest difference
counts.
Rounding: ``vec_dot_type`` in https://github.com/ggml-org/ggml/blob/master/src/ggml-cpu/ggml-cpu.c
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from galenic.models.gguf.names import EMBEDDING

if TYPE_CHECKING:
    from galenic.compression.quantize.job import QuantizeJob
    from galenic.models.checkpoint import Checkpoint
    from galenic.runtimes.llama_engine import LlamaEngine

__all__ = [
    "PASSAGE",
    "Agreement",
    "Margins",
    "Reference",
    "compare_margins",
    "measure_agreement",
    "measure_margins",
    "passage_tokens",
]

PASSAGE = (
    "Anaemia means that the blood carries too little oxygen, most often because the body lacks "
    "iron. People feel tired and weak, look pale and are short of breath when they climb stairs. "
    "A blood count shows it; the doctor then looks for the cause, for example heavy periods, "
    "bleeding in the stomach or bowel, or a diet without enough iron."
)
"""Text for the comparison. Random tokens would also reveal a wrong layout, but models are more
sensitive to rounding on unfamiliar text: the measured effect is three times as large."""
CHECKED_TOKENS = 48
EXPERTS = "blk.0.ffn_up_exps.weight"
"""Name of the tensor whose type determines how llama.cpp rounds the experts' inputs."""
ROUNDING_FACTOR = 3.0
"""Allowed ratio of llama.cpp's difference to the effect of rounding. Measured: 0.9 to 1.5."""
FLOOR = 0.02
"""Minimum tolerance: llama.cpp stores keys, values and attention weights in float16 (0.001)."""
DRAWS = 8
"""Number of random roundings of a mixture-of-experts model: a choice of experts that flips with
probability 1/2 is missed with probability 1/256."""
STRANGER_SHARE = 0.5
"""Upper bound of the tolerance, relative to the distance between neighbouring positions' logits."""


@dataclass(frozen=True)
class Agreement:
    """Difference between the logits of llama.cpp and of transformers with the same weights.

    All values are root mean squares over vocabulary and positions, relative to the standard
    deviation of the logits over the vocabulary. A constant shift of all logits of a position is
    ignored, since it changes no probability.

    Attributes:
        difference: difference between the two engines.
        rounding: difference between transformers with and without llama.cpp's input rounding.
        tolerance: the largest difference that rounding can explain.
    """

    difference: float
    rounding: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the difference is within the tolerance; False if either is NaN."""
        return self.difference <= self.tolerance


class Reference(Protocol):
    """A transformers model in float32 that llama.cpp is compared with."""

    model: Any

    def logits(self, tokens: Any) -> Any:
        """Return float32 logits (texts, length, vocab) for tokens of shape (texts, length)."""

    def gguf_name(self, name: str) -> str:
        """Return the GGUF name of a parameter, given its name in transformers."""


def measure_agreement(model: Reference, path: Path, types: Mapping[str, str]) -> Agreement:
    """Compare the logits of both engines on a text.

    Args:
        model: transformers model with the weights of the file, or those it was made from.
        path: the GGUF file.
        types: type of each of its tensors, by GGUF name.

    Raises:
        UserError: llama.cpp cannot load the file.
    """
    from galenic.runtimes.llama_engine import LlamaEngine
    from galenic.runtimes.selftest import verified_library
    from galenic.runtimes.threads import choose_threads

    config = model.model.config
    engine = LlamaEngine(verified_library(), path, threads=choose_threads())
    try:
        positions = min(int(config.max_position_embeddings) // 2, engine.context_length)
        length = min(CHECKED_TOKENS, positions)
        tokens = _tokens(engine, length, int(config.vocab_size))
        found = engine.log_probs(tokens)
    finally:
        engine.close()
    plain, rounded, *drawn = _plain_and_rounded(model, tokens, types)
    rounding = _distance(rounded, plain)
    stranger = _distance(plain[1:], plain[:-1])
    largest = max(FLOOR, ROUNDING_FACTOR * rounding, *(_distance(one, plain) for one in drawn))
    tolerance = min(largest, STRANGER_SHARE * stranger)
    return Agreement(_distance(found, plain), rounding, tolerance)


@dataclass(frozen=True)
class Margins:
    """Margin between the two likeliest next tokens, before and after storing a model.

    Attributes:
        merged: mean difference of their log-probabilities before storing, in nats.
        stored: mean difference for the same two tokens in the stored file, in nats.
        same_top: fraction of positions where the likeliest token is the same.
        num_tokens: number of tokens of the passage.
    """

    merged: float
    stored: float
    same_top: float
    num_tokens: int

    def told(self) -> str:
        """Return a sentence describing the margins."""
        return (
            f"between the two likeliest next tokens of the merged model lie {self.merged:.3f} nats "
            f"on average, in the stored file {self.stored:.3f} ({self.stored - self.merged:+.3f}); "
            f"the likeliest is the same at {self.same_top:.0%} of {self.num_tokens} tokens"
        )

    def checks(self) -> dict[str, float]:
        """Return the margins as checks for the manifest."""
        return {"margin_merged": self.merged, "margin_stored": self.stored}


def measure_margins(job: QuantizeJob, path: Path) -> Margins:
    """Compare a file with the model it was made from on `PASSAGE`, both run in transformers.

    Args:
        job: the original model.
        path: the GGUF file.
    """
    from galenic.models.gguf.copy import gguf_source
    from galenic.models.paged import PagedModel

    tokens = passage_tokens(job.checkpoint)
    sources = (job.source, gguf_source(path))
    merged, stored = (PagedModel(job.checkpoint, source).logits(tokens)[0] for source in sources)
    return compare_margins(merged, stored)


def passage_tokens(checkpoint: Checkpoint) -> Any:
    """Return the model's tokens of the beginning of `PASSAGE`, shape (1, length)."""
    import torch

    from galenic.compression.blocks.tokens import load_tokenizer

    return torch.tensor([load_tokenizer(checkpoint)(PASSAGE)["input_ids"][:CHECKED_TOKENS]])


def compare_margins(merged: Any, stored: Any) -> Margins:
    """Compute the margins from the logits of the two models, each of shape (length, vocab)."""
    import torch

    merged, stored = torch.log_softmax(merged, -1), torch.log_softmax(stored, -1)
    top = merged.topk(2, dim=-1).indices
    leads = [found.gather(1, top)[:, 0] - found.gather(1, top)[:, 1] for found in (merged, stored)]
    same = stored.argmax(-1) == top[:, 0]
    first, second = (float(lead.mean()) for lead in leads)
    return Margins(first, second, float(same.float().mean()), len(merged))


def _tokens(engine: LlamaEngine, length: int, vocab_size: int) -> list[int]:
    """Tokens of `PASSAGE`; random ones if the file has no tokenizer (llama.cpp would abort)."""
    if engine.metadata("tokenizer.ggml.model") not in (None, "none", "no_vocab"):
        tokens = engine.encode(PASSAGE)[:length]
        if len(tokens) == length:
            return tokens
    drawn: list[int] = np.random.default_rng(0).integers(vocab_size, size=length).tolist()
    return drawn


def _plain_and_rounded(
    model: Reference, tokens: Sequence[int], types: Mapping[str, str]
) -> list[NDArray[np.float32]]:
    """Logits without and with rounding, then with random errors; each (length, vocab)."""
    import torch

    texts = 2 + (DRAWS if EXPERTS in types else 0)
    with _rounded_inputs(model, types, texts):
        logits = model.logits(torch.tensor([tokens] * texts))
    return [one.numpy() for one in logits]


@contextmanager
def _rounded_inputs(model: Reference, types: Mapping[str, str], texts: int) -> Iterator[None]:
    """Context that rounds the inputs of linear layers and experts, for all texts but the first."""
    import torch

    generator = torch.Generator().manual_seed(0)
    hooks = []
    for name, module in model.model.named_modules():
        if isinstance(module, torch.nn.Linear):
            stored = types.get(model.gguf_name(f"{name}.weight"))
            kind = stored or types[EMBEDDING]  # a tied head
        elif name.endswith(".experts") and EXPERTS in types:
            kind = types[EXPERTS]
        else:
            continue
        hook = partial(_round_hook, kind, texts, generator)
        hooks.append(module.register_forward_pre_hook(hook))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _round_hook(
    kind: str,
    texts: int,
    generator: Any,
    module: Any,  # noqa: ARG001
    inputs: tuple[Any, ...],
) -> tuple[Any, ...]:
    """Leave the first text's inputs unchanged, round the second's, add random errors to the others.

    Splits along the first axis, since experts get the tokens of all texts concatenated.
    """
    import torch

    plain, nearest, *others = inputs[0].chunk(texts)
    drawn = (_round(one, kind, generator) for one in others)
    return (torch.cat([plain, _round(nearest, kind), *drawn]), *inputs[1:])


def _round(values: Any, kind: str, generator: Any = None) -> Any:
    """Round values as llama.cpp does before multiplying them with weights of this type.

    With a generator, add a random error instead, up to `ROUNDING_FACTOR` times as large. F32 is
    then treated like F16, because keys and values are float16 in any case.
    """
    import torch
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if kind in ("F32", "F16", "BF16"):
        if generator is not None:
            half_step = 2.0**-8 if kind == "BF16" else 2.0**-11
            return values * (1 + 2 * half_step * ROUNDING_FACTOR * _shifts(values, generator))
        dtype = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[kind]
        return values.to(dtype).float()
    wide = GGML_QUANT_SIZES[GGMLQuantizationType[kind]][0] == 256  # inputs in Q8_K, else Q8_0
    blocks = values.reshape(-1, 256 if wide else 32)
    scale = blocks.abs().amax(dim=-1, keepdim=True) / 127
    if generator is not None:
        return (blocks + ROUNDING_FACTOR * scale * _shifts(blocks, generator)).reshape(values.shape)
    levels = (blocks / scale.clamp_min(torch.finfo(torch.float32).tiny)).round()
    kept = scale if wide else scale.half().float()
    return (levels * kept).reshape(values.shape)


def _shifts(values: Any, generator: Any) -> Any:
    """Uniform random numbers in [-0.5, 0.5), of the same shape as ``values``."""
    import torch

    return torch.rand(values.shape, generator=generator) - 0.5


def _distance(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    squares = spread = 0.0
    for one, other in zip(found, expected, strict=True):  # one position at a time, to save memory
        squares += float((one.astype(np.float64) - other).var())
        spread += float(other.var(dtype=np.float64))
    return math.sqrt(squares / spread) if spread and math.isfinite(squares) else math.nan
