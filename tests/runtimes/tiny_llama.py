"""Tiny models for the llama runtime, and what the float64 reference says of them."""

from __future__ import annotations

import codecs
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from galenic.models.files import ModelFiles
from galenic.runtimes.llama import LlamaRuntime
from galenic.runtimes.selftest import LlamaShape, reference_logits
from galenic.runtimes.tree import Request
from tiny import tiny_bytes, tiny_tensors, tiny_vocabulary, write_tiny_gguf

__all__ = [
    "PER_TOKEN",
    "VOCAB",
    "greedy",
    "model_files",
    "open_tiny",
    "random_requests",
    "reference_scores",
    "whole_characters",
]

VOCAB = len(tiny_vocabulary())
PER_TOKEN = 0.02  # nats that float16 keys and values may cost


def model_files(path: Path) -> ModelFiles:
    return ModelFiles(path.name, "gguf", path, "0" * 64)


def open_tiny(folder: Path, context_length: int | None = None, **options: object) -> LlamaRuntime:
    path = write_tiny_gguf(folder / "tiny.gguf", **options)  # type: ignore[arg-type]
    return LlamaRuntime(model_files(path), threads=1, context_length=context_length)


def reference_scores(requests: list[Request], seed: int = 0) -> NDArray[np.float64]:
    """Log-likelihood of each request by the float64 forward pass, each on its own."""
    tensors, shape, totals = tiny_tensors(seed), LlamaShape(), []
    for request in requests:
        logits = reference_logits(tensors, shape, request.tokens[:-1])[request.start - 1 :]
        log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        scored = request.tokens[request.start :]
        totals.append(log_probs[np.arange(len(scored)), scored].sum())
    return np.array(totals)


def random_requests(seed: int, num_stems: int = 3) -> list[Request]:
    """Requests in families that share a stem, all behind the same five tokens."""
    rng = np.random.default_rng(seed)
    first = rng.integers(3, VOCAB, size=5).tolist()
    requests = []
    for _ in range(num_stems):
        stem = first + rng.integers(3, VOCAB, size=rng.integers(2, 30)).tolist()
        for _ in range(rng.integers(1, 6)):
            fork = int(rng.integers(6, len(stem) + 1))
            tail = rng.integers(3, VOCAB, size=rng.integers(1, 9)).tolist()
            requests.append(Request((*stem[:fork], *tail), int(rng.integers(6, fork + 1))))
    return requests


def greedy(tokens: list[int], steps: int) -> list[int]:
    """Continue by the float64 reference until an end token."""
    made: list[int] = []
    while len(made) < steps:
        best = int(reference_logits(tiny_tensors(), LlamaShape(), tokens + made)[-1].argmax())
        if best in (0, 2):
            break
        made.append(best)
    return made


def whole_characters(tokens: list[int]) -> str:
    """Text of tokens; a last character that is cut in the middle is left out."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(tiny_bytes(tokens))
