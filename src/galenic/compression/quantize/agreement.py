"""Do both engines predict the same with a written GGUF? If not, its layout is wrong.

llama.cpp rounds what enters a matrix product (to 8 bits where the weights are quantized), and
models differ a hundredfold in how much that moves their predictions. So no fixed tolerance tells
rounding from a fault. Here transformers runs the text twice, plainly and with inputs rounded as
llama.cpp rounds them; what the second differs from the first is what llama.cpp may. Where experts
are chosen by a score, rounding may choose another one, and whether it does is chance: such a model
is also rounded `DRAWS` times in other ways, by as much more as llama.cpp may differ, and the
largest effect counts.
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
"""What both engines read. Random tokens would do for a layout, but a model is far more sensitive to
rounding on what it never saw: the measured effect is three times as large."""
CHECKED_TOKENS = 48
EXPERTS = "blk.0.ffn_up_exps.weight"
"""A tensor whose type says how llama.cpp rounds what experts read."""
ROUNDING_FACTOR = 3.0
"""How much more than rounding does to transformers llama.cpp may differ. Measured: 0.9 to 1.5."""
FLOOR = 0.02
"""What is always allowed: keys, values and attention weights are float16 in llama.cpp (0.001)."""
DRAWS = 8
"""Other roundings of a model with experts: a choice that every second one turns is missed once in
256 models."""
STRANGER_SHARE = 0.5
"""Never as much as this share of the distance to the predictions for the next position."""


@dataclass(frozen=True)
class Agreement:
    """How far llama.cpp's logits are from those of transformers with the same weights.

    All are root mean squares over vocabulary and positions, as a share of the spread (standard
    deviation over the vocabulary) of the logits. A shift common to a position's logits changes no
    probability and does not count.

    Attributes:
        difference: of the two engines.
        rounding: of transformers from itself when it rounds inputs as llama.cpp does.
        tolerance: the largest difference that rounding explains.
    """

    difference: float
    rounding: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether rounding explains the difference; not where one is not a number."""
        return self.difference <= self.tolerance


class Reference(Protocol):
    """A model of transformers, in float32, that llama.cpp is compared with."""

    model: Any

    def logits(self, tokens: Any) -> Any:
        """Shape (texts, length, vocab), float32, of tokens of shape (texts, length)."""

    def gguf_name(self, name: str) -> str:
        """The GGUF name of a parameter that has this one in transformers."""


def measure_agreement(model: Reference, path: Path, types: Mapping[str, str]) -> Agreement:
    """Run a text through both engines.

    Args:
        model: transformers with the weights of the file, or with those it was made from.
        path: the GGUF.
        types: type of each of its tensors.

    Raises:
        UserError: llama.cpp refuses the file.
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
    """How clearly the likeliest next token of a model leads, before and after it was stored.

    Attributes:
        merged: mean over tokens of the lead over the second likeliest, in nats.
        stored: the same two tokens' difference in the file.
        same_top: share of tokens where the likeliest is the same.
        num_tokens: of the passage.
    """

    merged: float
    stored: float
    same_top: float
    num_tokens: int

    def told(self) -> str:
        """In words."""
        return (
            f"between the two likeliest next tokens of the merged model lie {self.merged:.3f} nats "
            f"on average, in the stored file {self.stored:.3f} ({self.stored - self.merged:+.3f}); "
            f"the likeliest is the same at {self.same_top:.0%} of {self.num_tokens} tokens"
        )

    def checks(self) -> dict[str, float]:
        """As a manifest has them."""
        return {"margin_merged": self.merged, "margin_stored": self.stored}


def measure_margins(job: QuantizeJob, path: Path) -> Margins:
    """Compare a file with what it was made from on `PASSAGE`, both in transformers.

    Args:
        job: the model.
        path: the GGUF.
    """
    from galenic.models.gguf.copy import gguf_source
    from galenic.models.paged import PagedModel

    tokens = passage_tokens(job.checkpoint)
    sources = (job.source, gguf_source(path))
    merged, stored = (PagedModel(job.checkpoint, source).logits(tokens)[0] for source in sources)
    return compare_margins(merged, stored)


def passage_tokens(checkpoint: Checkpoint) -> Any:
    """The beginning of `PASSAGE` as a model's tokens, shape (1, length)."""
    import torch

    from galenic.compression.blocks.tokens import load_tokenizer

    return torch.tensor([load_tokenizer(checkpoint)(PASSAGE)["input_ids"][:CHECKED_TOKENS]])


def compare_margins(merged: Any, stored: Any) -> Margins:
    """The same of two models' logits, each of shape (length, vocab)."""
    import torch

    merged, stored = torch.log_softmax(merged, -1), torch.log_softmax(stored, -1)
    top = merged.topk(2, dim=-1).indices
    leads = [found.gather(1, top)[:, 0] - found.gather(1, top)[:, 1] for found in (merged, stored)]
    same = stored.argmax(-1) == top[:, 0]
    first, second = (float(lead.mean()) for lead in leads)
    return Margins(first, second, float(same.float().mean()), len(merged))


def _tokens(engine: LlamaEngine, length: int, vocab_size: int) -> list[int]:
    """The passage; random tokens where the file has no tokenizer (llama.cpp would abort)."""
    if engine.metadata("tokenizer.ggml.model") not in (None, "none", "no_vocab"):
        tokens = engine.encode(PASSAGE)[:length]
        if len(tokens) == length:
            return tokens
    drawn: list[int] = np.random.default_rng(0).integers(vocab_size, size=length).tolist()
    return drawn


def _plain_and_rounded(
    model: Reference, tokens: Sequence[int], types: Mapping[str, str]
) -> list[NDArray[np.float32]]:
    """Logits of transformers, plain and with rounded inputs, each of shape (length, vocab)."""
    import torch

    texts = 2 + (DRAWS if EXPERTS in types else 0)
    with _rounded_inputs(model, types, texts):
        logits = model.logits(torch.tensor([tokens] * texts))
    return [one.numpy() for one in logits]


@contextmanager
def _rounded_inputs(model: Reference, types: Mapping[str, str], texts: int) -> Iterator[None]:
    """Round what enters linear maps, for all texts but the first."""
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
    """The first text as it is, the second rounded, the others shifted at random.

    Experts are given the tokens of all texts in a row.
    """
    import torch

    plain, nearest, *others = inputs[0].chunk(texts)
    drawn = (_round(one, kind, generator) for one in others)
    return (torch.cat([plain, _round(nearest, kind), *drawn]), *inputs[1:])


def _round(values: Any, kind: str, generator: Any = None) -> Any:
    """Values as llama.cpp rounds them before it multiplies with weights of that type.

    With a generator, each by another error, `ROUNDING_FACTOR` times as large: for F32, whose keys
    and values are float16 all the same, as for F16.
    """
    import torch
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if kind in ("F32", "F16", "BF16"):
        if generator is not None:
            half_step = 2.0**-8 if kind == "BF16" else 2.0**-11
            return values * (1 + 2 * half_step * ROUNDING_FACTOR * _shifts(values, generator))
        dtype = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[kind]
        return values.to(dtype).float()
    wide = GGML_QUANT_SIZES[GGMLQuantizationType[kind]][0] == 256  # rounded to Q8_K, else to Q8_0
    blocks = values.reshape(-1, 256 if wide else 32)
    scale = blocks.abs().amax(dim=-1, keepdim=True) / 127
    if generator is not None:
        return (blocks + ROUNDING_FACTOR * scale * _shifts(blocks, generator)).reshape(values.shape)
    levels = (blocks / scale.clamp_min(torch.finfo(torch.float32).tiny)).round()
    kept = scale if wide else scale.half().float()
    return (levels * kept).reshape(values.shape)


def _shifts(values: Any, generator: Any) -> Any:
    """Even between -0.5 and 0.5, of the shape of the values."""
    import torch

    return torch.rand(values.shape, generator=generator) - 0.5


def _distance(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    squares = spread = 0.0
    for one, other in zip(found, expected, strict=True):  # a position at a time: memory
        squares += float((one.astype(np.float64) - other).var())
        spread += float(other.var(dtype=np.float64))
    return math.sqrt(squares / spread) if spread and math.isfinite(squares) else math.nan
