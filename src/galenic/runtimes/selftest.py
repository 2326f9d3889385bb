"""Self-test of a llama.cpp library against a float64 forward pass in NumPy.

A build may be miscompiled, or read a parameter struct with another layout than ours. So before its
first use, a library runs a tiny model with weights from a formula, and its output is compared with
`reference_logits`. A pass is cached by the hash of the library.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galenic.cache import note, noted
from galenic.errors import UserError
from galenic.runtimes.libllama import LibLlama, load_library
from galenic.runtimes.llama_engine import LlamaEngine
from galenic.runtimes.tree import Request, build_pack

__all__ = ["TOLERANCE", "LlamaShape", "SelfTest", "reference_logits", "run_self_test",
           "verified_library"]  # fmt: skip

logger = logging.getLogger("galenic.llama")

TOLERANCE = 0.05
"""Accepted difference in nats. For comparison, float16 keys and values cause about 0.007; errors
cause more: a norm epsilon of 1e-3 for 1e-5 0.3, a doubled rotary base 1.1, wrong rotary pairs 4."""

TABLE = "selftest.json"
VERSION = 1  # of this test; a pass of another version does not count

Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class LlamaShape:
    """Hyperparameters of the Llama architecture that the tensors do not determine."""

    num_layers: int = 2
    num_heads: int = 4
    num_kv_heads: int = 2
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-5


@dataclass(frozen=True)
class SelfTest:
    """Result of the self-test.

    Attributes:
        max_difference: largest difference of a log-probability from the reference, in nats.
        passed: whether the difference is within `TOLERANCE`.
        seconds: wall time.
    """

    max_difference: float
    passed: bool
    seconds: float


def reference_logits(
    tensors: Tensors, shape: LlamaShape, tokens: Sequence[int]
) -> NDArray[np.float64]:
    """Logits after each token in float64, shape (n, vocab).

    RMSNorm, rotary positions, grouped-query attention and SwiGLU as in https://arxiv.org/abs/2302.13971
    with the tensor names and row order of GGUF: the two dimensions of a rotation are adjacent
    (2i, 2i + 1), whereas in Hugging Face files they are half a head apart.
    """
    w = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    x = w["token_embd.weight"][list(tokens)]  # (n, hidden)
    for layer in range(shape.num_layers):
        b = f"blk.{layer}."
        h = _rms_norm(x, w[b + "attn_norm.weight"], shape.norm_epsilon)
        x = x + _attention(h, w, b, shape)
        h = _rms_norm(x, w[b + "ffn_norm.weight"], shape.norm_epsilon)
        gate = h @ w[b + "ffn_gate.weight"].T
        silu = gate / (1 + np.exp(-gate))
        x = x + (silu * (h @ w[b + "ffn_up.weight"].T)) @ w[b + "ffn_down.weight"].T
    x = _rms_norm(x, w["output_norm.weight"], shape.norm_epsilon)
    return np.asarray(x @ w.get("output.weight", w["token_embd.weight"]).T)


def run_self_test(library: LibLlama) -> SelfTest:
    """Run the test model with the library and compare it with the reference.

    Raises:
        UserError: the library cannot run the model at all.
    """
    began = time.perf_counter()
    shape, tensors = LlamaShape(), _formula_tensors()
    with tempfile.TemporaryDirectory(prefix="galenic-") as folder:
        path = Path(folder) / "selftest.gguf"
        _write_model(path, shape, tensors)
        engine = LlamaEngine(library, path, threads=1)
        try:
            differences = [*_running_text(engine, shape, tensors), *_trees(engine, shape, tensors)]
        except RuntimeError as error:
            raise UserError(f"{library.files.name} fails the self-test: {error}") from error
        finally:
            engine.close()
    worst = float(np.max(differences))  # NaN stays NaN and does not pass
    return SelfTest(worst, worst <= TOLERANCE, time.perf_counter() - began)


def verified_library() -> LibLlama:
    """Return the library of this process after it has passed the self-test.

    Raises:
        UserError: the library is missing or fails the self-test.
    """
    library = load_library()
    if library.verified:
        return library
    key = f"{VERSION} {library.sha256}"
    if not noted(TABLE, key):
        result = run_self_test(library)
        if not result.passed:
            raise UserError(
                f"{library.files.name} computes wrong numbers on this machine (off by "
                f"{result.max_difference:.3g} nats): refusing it. `galenic doctor` shows details; "
                "use the packaged library (unset GALENIC_LIBLLAMA) or the torch runtime."
            )
        logger.debug("self-test of %s passed in %.2f s", library.files.name, result.seconds)
        note(TABLE, key)
    library.verified = True
    return library


# The comparison


def _running_text(engine: LlamaEngine, shape: LlamaShape, tensors: Tensors) -> list[float]:
    """Largest difference in nats of next-token distributions, after a prompt and each new token."""
    tokens = [int(token) for token in _hashes(7, 24) % _VOCAB]
    expected = _log_softmax(reference_logits(tensors, shape, tokens))
    given = [engine.start(tokens[:16], room=8).copy()]
    given += [engine.step(tokens[at], at).copy() for at in range(16, 24)]
    return [
        float(np.abs(_log_softmax(logits.astype(np.float64)) - expected[15 + i]).max())
        for i, logits in enumerate(given)
    ]


def _trees(engine: LlamaEngine, shape: LlamaShape, tensors: Tensors) -> list[float]:
    """Differences in nats of scores of branches with a common stem, with and without a prefix."""
    stem = [int(token) for token in _hashes(11, 20) % _VOCAB]
    requests = [
        Request((*stem[:fork], fork, *(int(t) for t in _hashes(fork, 6) % _VOCAB)), fork)
        for fork in (12, 16, 16, 18, 20)  # one twice: these share all rows
    ]
    expected = [_scored_tokens(reference_logits(tensors, shape, r.tokens), r) for r in requests]
    differences = []
    for prefix in ((), tuple(stem[:10])):
        pack = build_pack(requests, prefix)
        given = engine.score(pack)
        for number, values in enumerate(expected):
            differences += list(np.abs(given[pack.read_requests == number] - values))
    return differences


def _scored_tokens(logits: NDArray[np.float64], request: Request) -> NDArray[np.float64]:
    """Log-probability of each token that a request scores, in order."""
    rows = np.arange(request.start, len(request.tokens))
    return np.asarray(_log_softmax(logits)[rows - 1, list(request.tokens[request.start :])])


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


# The reference


def _rms_norm(
    x: NDArray[np.float64], weight: NDArray[np.float64], epsilon: float
) -> NDArray[np.float64]:
    return np.asarray(x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + epsilon) * weight)


def _attention(
    h: NDArray[np.float64], w: Mapping[str, NDArray[np.float64]], block: str, shape: LlamaShape
) -> NDArray[np.float64]:
    n, size = len(h), w[block + "attn_q.weight"].shape[0] // shape.num_heads
    q = (h @ w[block + "attn_q.weight"].T).reshape(n, shape.num_heads, size)
    k = (h @ w[block + "attn_k.weight"].T).reshape(n, shape.num_kv_heads, size)
    v = (h @ w[block + "attn_v.weight"].T).reshape(n, shape.num_kv_heads, size)
    q, k = _rotate(q, shape.rope_base), _rotate(k, shape.rope_base)
    out = np.empty_like(q)
    for head in range(shape.num_heads):
        shared = head * shape.num_kv_heads // shape.num_heads
        scores = q[:, head] @ k[:, shared].T / np.sqrt(size)
        scores[np.triu_indices(n, k=1)] = -np.inf
        out[:, head] = np.exp(_log_softmax(scores)) @ v[:, shared]
    return np.asarray(out.reshape(n, -1) @ w[block + "attn_output.weight"].T)


def _rotate(x: NDArray[np.float64], base: float) -> NDArray[np.float64]:
    """Rotate adjacent pairs of x, shape (n, heads, size), by position * base^(-2i / size)."""
    n, _, size = x.shape
    angles = np.outer(np.arange(n), base ** (-np.arange(0, size, 2) / size))[:, None, :]
    turned = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)
    return np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)


# The model


_VOCAB, _HIDDEN, _KV, _FFN = 96, 64, 32, 128


def _formula_tensors() -> dict[str, NDArray[np.float32]]:
    shapes = {"token_embd.weight": (_VOCAB, _HIDDEN), "output_norm.weight": (_HIDDEN,)}
    for layer in range(LlamaShape.num_layers):
        shapes |= {
            f"blk.{layer}.attn_norm.weight": (_HIDDEN,),
            f"blk.{layer}.attn_q.weight": (_HIDDEN, _HIDDEN),
            f"blk.{layer}.attn_k.weight": (_KV, _HIDDEN),
            f"blk.{layer}.attn_v.weight": (_KV, _HIDDEN),
            f"blk.{layer}.attn_output.weight": (_HIDDEN, _HIDDEN),
            f"blk.{layer}.ffn_norm.weight": (_HIDDEN,),
            f"blk.{layer}.ffn_gate.weight": (_FFN, _HIDDEN),
            f"blk.{layer}.ffn_up.weight": (_FFN, _HIDDEN),
            f"blk.{layer}.ffn_down.weight": (_HIDDEN, _FFN),
        }
    return {name: _formula(number, shape) for number, (name, shape) in enumerate(shapes.items())}


def _formula(number: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Deterministic float32 weights that keep activations near one; norm weights near one."""
    spread = _hashes(number, int(np.prod(shape))).astype(np.float64) / 2**31 - 1  # in [-1, 1)
    weights = 1 + 0.2 * spread if len(shape) == 1 else 2 / np.sqrt(shape[-1]) * spread
    return np.asarray(weights, dtype=np.float32).reshape(shape)


def _hashes(seed: int, count: int) -> NDArray[np.uint64]:
    """Pseudo-random 32-bit numbers from integer arithmetic, so the same on every platform.

    The finalizer of SplitMix64, https://doi.org/10.1145/2714064.2660195.
    """
    x = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed << 32)
    x *= np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x >> np.uint64(32)


def _write_model(path: Path, shape: LlamaShape, tensors: Tensors) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(256)
    writer.add_embedding_length(_HIDDEN)
    writer.add_block_count(shape.num_layers)
    writer.add_feed_forward_length(_FFN)
    writer.add_head_count(shape.num_heads)
    writer.add_head_count_kv(shape.num_kv_heads)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_rope_dimension_count(_HIDDEN // shape.num_heads)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(_VOCAB)
    writer.add_tokenizer_model("none")
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
