"""Perplexity on held-out text, and KL divergence of a compressed model from its parent.

For accuracies near chance these are far more sensitive to changes of a model than accuracy
(https://arxiv.org/abs/2407.09141). The text is cut by the reference's tokenizer into sequences of
``seq_len`` tokens and passed to both models as text, so that both read the same bytes.

- perplexity: ``exp`` of the mean of ``-log p(token | previous tokens of the sequence)``. The first
  token is not scored, unless a start token precedes it.
- bits per byte: the same sum in bits, divided by the bytes of text; comparable between tokenizers.
- perplexity per reference token: the same sum, divided by the number of the *reference's* tokens;
  comparable between models with different vocabularies.
- KL: ``Σ p log(p / q)`` in nats over the next-token distributions, p the reference's, q the
  model's, mean over tokens. With a pruned vocabulary both are restricted to their common tokens
  and renormalised, at positions where both tokenize alike; ``dropped_mass`` is the probability
  that the reference assigns to other tokens there.
- same top: share of those positions where both have the same most likely next token.

Intervals are 95 %, by resampling sequences (`galenic.bootstrap`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from galenic.bootstrap import Estimate, ratio_estimate
from galenic.data.calibration import (
    CalibrationText,
    pack,
    read_heldout_text,
)
from galenic.errors import UserError
from galenic.evaluation.alignment import (
    align,
    first_scored,
    match_vocabularies,
    piece_lengths,
    token_ends,
)
from galenic.evaluation.config import DivergenceConfig
from galenic.models.files import ModelFiles
from galenic.registry import RUNTIMES
from galenic.runtimes.base import Runtime
from galenic.runtimes.threads import choose_threads
from galenic.watcher import Watcher

__all__ = [
    "Divergence",
    "Judged",
    "KlSummary",
    "compare_rows",
    "measure_divergence",
    "serving_runtime",
]

BLOCK = 32
"""Rows compared at a time, in float64."""


@dataclass(frozen=True)
class Judged:
    """Results of one model; see the module docstring for definitions."""

    model: str
    sha256: str
    runtime: str
    engine: str
    weights: str
    num_tokens: int
    perplexity: Estimate
    bits_per_byte: Estimate


@dataclass(frozen=True)
class KlSummary:
    """Divergence from the reference over ``num_tokens`` tokens, in nats.

    ``compared`` is ``num_tokens`` as a share of the reference's scored tokens, ``dropped_mass``
    the mean probability that the reference assigns to tokens the model does not have.
    """

    mean: Estimate
    median: float
    percentile_99: float
    same_top: Estimate
    num_tokens: int
    compared: float
    dropped_mass: float


@dataclass(frozen=True)
class Divergence:
    """Result of a measurement; fields are None without a reference or a common vocabulary.

    ``perplexity_per_reference_token`` is that of the model; ``perplexity_ratio`` is model over
    reference, with a paired interval.
    """

    text: list[dict[str, str]]
    num_samples: int
    seq_len: int
    seed: int
    num_threads: int
    num_bytes: int
    model: Judged
    reference: Judged | None
    perplexity_per_reference_token: Estimate | None
    perplexity_ratio: Estimate | None
    kl: KlSummary | None


def serving_runtime(model: ModelFiles, asked: str) -> str:
    """Return the requested runtime; for ``auto``, llama for a GGUF and torch otherwise."""
    if asked != "auto":
        return asked
    return "llama" if model.kind == "gguf" else "torch"


def measure_divergence(
    model: ModelFiles, reference: ModelFiles | None, config: DivergenceConfig, watcher: Watcher
) -> Divergence:
    """Measure a model on held-out text, and its divergence from a reference if given.

    Both models are in memory together; sequences are processed one at a time.

    Raises:
        UserError: the text is missing or too short, a model cannot be loaded, or a sequence exceeds
            a model's context length.
    """
    texts = read_heldout_text(config)
    threads = config.threads or choose_threads()
    files = [model] if reference is None else [model, reference]
    sides: list[_Side] = []
    try:
        for one in files:
            watcher.stage(f"loading {one.name}")
            kind = RUNTIMES.load(serving_runtime(one, config.runtime))
            options = {"dtype": config.dtype} if kind.dtypes else {}
            sides.append(_Side(kind(one, threads=threads, **options)))
        samples = _cut(sides[-1].runtime, texts, config)
        readings = [side.encode(samples) for side in sides]
        work = _Work(sides, config)
        watcher.stage("reading", len(samples))
        for number, pair in enumerate(zip(*readings, strict=True), 1):
            work.add(pair)
            watcher.advance(number)
        return work.result(texts, threads)
    finally:
        for side in sides:
            side.runtime.close()


def compare_rows(
    reference: NDArray[np.float32],
    model: NDArray[np.float32],
    matches: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Compare next-token distributions row by row over the tokens that both models have.

    Args:
        reference: log-probabilities, shape (n, vocabulary).
        model: log-probabilities, shape (n, model's vocabulary).
        matches: reference's id of each of the model's tokens, -1 for none.

    Returns:
        KL(reference || model) in nats, whether the most likely token is the same, and the
        reference's probability of tokens the model lacks, each of shape (n,).
    """
    own = np.flatnonzero(matches >= 0)
    whole = len(own) == reference.shape[1] == model.shape[1]
    p, p_total = _normalised(reference[:, matches[own]])
    q, _ = _normalised(model[:, own])
    kl = (np.exp(p) * (p - q)).sum(axis=1)
    dropped = np.zeros(len(kl)) if whole else 1 - np.exp(p_total)
    return np.maximum(kl, 0.0), p.argmax(axis=1) == q.argmax(axis=1), np.maximum(dropped, 0.0)


def _normalised(
    log_probs: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normalize rows of log-probabilities in float64; also return the log of their sums."""
    rows = log_probs.astype(np.float64)
    top = rows.max(axis=1, keepdims=True)
    total = top + np.log(np.exp(rows - top).sum(axis=1, keepdims=True))
    return rows - total, total[:, 0]


def _cut(runtime: Runtime, texts: Sequence[CalibrationText], config: DivergenceConfig) -> list[str]:
    """Cut texts of about ``seq_len`` tokens each; documents are separated by empty lines."""
    start = runtime.encode_batch([""])[0]

    def encode(document: str) -> list[int]:
        return runtime.encode_batch([document + "\n\n"])[0][len(start) :]

    rows = pack(texts, encode, config, start=start)[:, len(start) :]
    # A cut inside a UTF-8 character leaves replacement characters, which are removed.
    return [runtime.decode(row.tolist()).strip("\ufffd") for row in rows]


@dataclass(frozen=True)
class _Reading:
    """A tokenized text: token ids, and the byte offset at which each token ends."""

    tokens: list[int]
    ends: NDArray[np.int64]


class _Side:
    """A loaded model, with the texts of its tokens."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.pieces = runtime.vocabulary()
        self.lengths = piece_lengths(self.pieces)

    def encode(self, samples: Sequence[str]) -> list[_Reading]:
        num_start = len(self.runtime.encode_batch([""])[0])
        readings = []
        for tokens in self.runtime.encode_batch(samples):
            if len(tokens) > self.runtime.info.context_length:
                raise UserError(
                    f"a text has {len(tokens)} tokens and {self.runtime.info.model} takes at most "
                    f"{self.runtime.info.context_length}. Lower --seq-len."
                )
            readings.append(_Reading(tokens, token_ends(tokens, self.lengths, num_start)))
        return readings


class _Work:
    """Accumulates results; each list has one entry per sequence."""

    def __init__(self, sides: Sequence[_Side], config: DivergenceConfig) -> None:
        self.sides, self.config = sides, config
        self.nats: list[list[float]] = [[] for _ in sides]
        self.tokens: list[list[int]] = [[] for _ in sides]
        self.num_bytes: list[int] = []
        self.kl: list[NDArray[np.float64]] = []
        self.same: list[NDArray[np.bool_]] = []
        self.dropped: list[NDArray[np.float64]] = []
        self.matches = None
        if len(sides) == 2:
            self.matches = match_vocabularies(sides[1].pieces, sides[0].pieces)

    def add(self, readings: Sequence[_Reading]) -> None:
        """Run all models on one sequence and store the results."""
        found = [
            side.runtime.log_probs(reading.tokens[:-1])
            for side, reading in zip(self.sides, readings, strict=True)
        ]
        ends = [reading.ends for reading in readings]
        firsts = first_scored(ends[-1], ends[0])[::-1]
        self.num_bytes.append(int(ends[0][-1] - ends[0][firsts[0] - 1]))
        for number, (reading, rows) in enumerate(zip(readings, found, strict=True)):
            at = np.arange(firsts[number], len(reading.tokens))
            chosen = rows[at - 1, np.array(reading.tokens)[at]].astype(np.float64)
            self.nats[number].append(-float(chosen.sum()))
            self.tokens[number].append(len(at))
        if self.matches is not None:
            self._compare(found, align(ends[1], ends[0]))

    def _compare(self, found: Sequence[NDArray[np.float32]], at: NDArray[np.int64]) -> None:
        parts = [
            compare_rows(found[1][part[:, 0]], found[0][part[:, 1]], self.matches)  # type: ignore[arg-type]
            for part in (at[i : i + BLOCK] for i in range(0, len(at), BLOCK))
        ]
        empty = np.zeros(0)
        kl, same, dropped = zip(*parts, strict=True) if parts else ((empty,),) * 3
        self.kl.append(np.concatenate(kl))
        self.same.append(np.concatenate(same))
        self.dropped.append(np.concatenate(dropped))

    def result(self, texts: Sequence[CalibrationText], threads: int) -> Divergence:
        """Compute the measures over all sequences so far."""
        per_token = ratio = None
        seed = self.config.seed
        if len(self.sides) == 2:
            per_token = ratio_estimate(self.nats[0], self.tokens[1], seed, np.exp)
            more = [a - b for a, b in zip(*self.nats, strict=True)]
            ratio = ratio_estimate(more, self.tokens[1], seed, np.exp)
        return Divergence(
            text=[{"source": text.source, "sha256": text.sha256} for text in texts],
            num_samples=self.config.num_samples,
            seq_len=self.config.seq_len,
            seed=seed,
            num_threads=threads,
            num_bytes=sum(self.num_bytes),
            model=self._judged(0),
            reference=self._judged(1) if len(self.sides) == 2 else None,
            perplexity_per_reference_token=per_token,
            perplexity_ratio=ratio,
            kl=self._summary(),
        )

    def _judged(self, number: int) -> Judged:
        info = self.sides[number].runtime.info
        nats, counts = self.nats[number], self.tokens[number]
        bits = [each / np.log(2) for each in nats]
        return Judged(
            model=info.model,
            sha256=info.sha256,
            runtime=info.runtime,
            engine=info.engine,
            weights=info.weights,
            num_tokens=sum(counts),
            perplexity=ratio_estimate(nats, counts, self.config.seed, np.exp),
            bits_per_byte=ratio_estimate(bits, self.num_bytes, self.config.seed),
        )

    def _summary(self) -> KlSummary | None:
        counts = [len(part) for part in self.kl]
        if not sum(counts):
            return None
        everything: Any = np.concatenate(self.kl)
        same = [float(part.sum()) for part in self.same]
        seed = self.config.seed
        return KlSummary(
            mean=ratio_estimate([float(part.sum()) for part in self.kl], counts, seed),
            median=float(np.median(everything)),
            percentile_99=float(np.percentile(everything, 99)),
            same_top=ratio_estimate(same, counts, seed),
            num_tokens=sum(counts),
            compared=sum(counts) / sum(self.tokens[1]),
            dropped_mass=float(np.concatenate(self.dropped).mean()),
        )
