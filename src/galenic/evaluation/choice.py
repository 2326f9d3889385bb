"""Computes the records of a chunk of jobs: score or generate, weigh, debias, predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galenic.evaluation.plan import PRIOR, Chunk, ScoringJob
from galenic.evaluation.records import Record
from galenic.evaluation.scoring.parse import parse_answer
from galenic.runtimes.base import Runtime, Writing
from galenic.runtimes.tree import Request, build_pack, sum_by_request

__all__ = ["Work", "run_chunk", "softmax"]

THINK, END_OF_THINK = "<think>", "</think>"
ANSWER_TOKENS = 16
"""Maximum tokens of the answer after reasoning that was cut off."""
MADE_ROOM = 200
"""Characters removed from the end of such reasoning (about 40 tokens), to fit the answer."""


@dataclass(frozen=True)
class Work:
    """Cost of a chunk: tokens requested, and tokens computed after sharing prefixes."""

    tokens_asked: int
    tokens_computed: int


def softmax(scores: Mapping[str, float]) -> dict[str, float]:
    """Probabilities over the labels, proportional to exp(score)."""
    values = np.array(list(scores.values()), dtype=np.float64)
    weights = np.exp(values - values.max())
    return dict(zip(scores, (weights / weights.sum()).tolist(), strict=True))


def run_chunk(
    runtime: Runtime, chunk: Chunk, *, debias: str, max_tokens: int, seed: int
) -> tuple[list[Record], Work]:
    """Compute the records of one chunk.

    Returns:
        One record per job, in order, and the cost.
    """
    if chunk.jobs[0].scoring.generates:
        return _generate(runtime, chunk.jobs, max_tokens, seed)
    requests = [read.request for job in chunk.jobs for read in job.reads]
    totals, work = _score(runtime, requests, chunk.prefix)
    records = []
    at = 0
    for job in chunk.jobs:
        records.append(_decide(job, totals[at : at + len(job.reads)], debias))
        at += len(job.reads)
    return records, work


def _score(
    runtime: Runtime, requests: Sequence[Request], prefix: tuple[int, ...]
) -> tuple[NDArray[np.float64], Work]:
    """Log-likelihoods of all requests, split into packs within the runtime's ``max_leaves``."""
    totals: list[NDArray[np.float64]] = []
    asked = computed = 0
    step = _step(runtime, requests)
    for start in range(0, len(requests), step):
        pack = build_pack(requests[start : start + step], prefix)
        totals.append(sum_by_request(pack, runtime.score(pack)))
        asked += pack.num_asked
        computed += runtime.num_computed(pack)
    return np.concatenate(totals), Work(asked, computed)


def _step(runtime: Runtime, requests: Sequence[Request]) -> int:
    """Number of requests per pack: all, unless they have more leaves than the runtime allows."""
    if len(requests) <= runtime.max_leaves:
        return len(requests)
    return (
        len(requests)
        if build_pack(requests).num_leaves <= runtime.max_leaves
        else (runtime.max_leaves)
    )


def _decide(job: ScoringJob, loglikelihoods: NDArray[np.float64], debias: str) -> Record:
    labels = list(job.example.options)
    by_turn: dict[int, dict[str, float]] = {}
    for read, value in zip(job.reads, loglikelihoods, strict=True):
        by_turn.setdefault(read.rotation, {})[read.label] = float(value)
    scores = {
        turn: job.scoring.weigh(job.example, {label: found[label] for label in labels})
        for turn, found in by_turn.items()
    }
    shown = {turn: softmax(values) for turn, values in scores.items() if turn != PRIOR}
    if debias == "prior":
        free = scores[PRIOR]
        final = softmax({label: scores[0][label] - free[label] for label in labels})
    else:
        final = {
            label: float(np.mean([turn[label] for turn in shown.values()])) for label in labels
        }
    if debias == "permutations" and len(shown) == 1:
        debias = "none"  # options that are not shown cannot be rotated
    return Record(
        benchmark=job.benchmark.name,
        id=job.example.id,
        scoring=job.scoring.name,
        debias=debias,
        gold=job.example.answer,
        prediction=max(labels, key=lambda label: final[label]),
        probabilities=_rounded(final, 6),
        loglikelihoods=_rounded({label: by_turn[0][label] for label in labels}, 4),
        rotations=[] if debias == "none" else [_rounded(shown[turn], 6) for turn in sorted(shown)],
        truncated=job.truncated,
    )


def _generate(
    runtime: Runtime, jobs: Sequence[ScoringJob], max_tokens: int, seed: int
) -> tuple[list[Record], Work]:
    records = []
    tokens = 0
    for job in jobs:
        text, written = _write(runtime, job, max_tokens, seed)
        tokens += len(runtime.encode_batch([job.prompt])[0]) + written
        records.append(
            Record(
                benchmark=job.benchmark.name,
                id=job.example.id,
                scoring=job.scoring.name,
                gold=job.example.answer,
                prediction=parse_answer(text, job.example.options),
                truncated=job.truncated,
                text=text,
            )
        )
    return records, Work(tokens, tokens)


def _write(runtime: Runtime, job: ScoringJob, max_tokens: int, seed: int) -> tuple[str, int]:
    """Generate an answer and count its tokens; unfinished reasoning is ended by force.

    ``max_tokens`` is the reasoning budget: when it is used up, the end-of-reasoning marker and the
    answer prefix are appended (budget forcing: Muennighoff et al. 2025,
    https://arxiv.org/abs/2501.19393), in place of the last `MADE_ROOM` characters.
    """
    made = runtime.generate(job.prompt, Writing(max_tokens=max_tokens, seed=seed))
    begun = THINK in made.text or job.prompt.rstrip().endswith(THINK)
    if made.finished or not begun or END_OF_THINK in made.text:
        return made.text, made.num_tokens
    text = f"{made.text[:-MADE_ROOM]}\n{END_OF_THINK}\n\n{job.benchmark.answer_prefix}"
    last = runtime.generate(job.prompt + text, Writing(max_tokens=ANSWER_TOKENS, seed=seed))
    return text + last.text, made.num_tokens + last.num_tokens


def _rounded(values: Mapping[str, float], places: int) -> dict[str, float]:
    """Round the values; adding 0 turns -0.0 into 0.0."""
    return {label: round(value, places) + 0.0 for label, value in values.items()}
