"""Planning of a run: its requests, their order, and their grouping into chunks.

The plan depends only on the configuration and the questions, not on earlier progress: a resumed run
computes the same chunks in the same shapes, and so writes the same records.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from galenic.data.benchmarks.base import Benchmark, original_label, rotate
from galenic.data.example import Example
from galenic.data.sources import Dataset
from galenic.evaluation.prompts import Prompter
from galenic.evaluation.scoring.base import Scoring
from galenic.runtimes.base import Runtime
from galenic.runtimes.tree import Request, build_pack, common_prefix_length

__all__ = [
    "PRIOR",
    "Chunk",
    "Read",
    "RunPlan",
    "ScoringJob",
    "choose_fewshot",
    "make_plan",
    "sample",
]

PRIOR = -1
"""Marks, in place of a rotation, the content-free question that measures the options' prior."""
MIN_PINNED = 16
"""A shared prefix with fewer tokens is cheaper to recompute than to cache."""
LONG_CHARACTERS = 8
"""A stem with more than this many characters per token of context is assumed not to fit."""
ENCODE_BATCH = 512
"""Texts tokenized between two progress updates."""


@dataclass(frozen=True)
class Read:
    """One request of a job, with its rotation (or `PRIOR`) and original label."""

    rotation: int
    label: str
    request: Request


@dataclass(frozen=True)
class ScoringJob:
    """One question under one scoring, which yields one record."""

    benchmark: Benchmark
    example: Example
    scoring: Scoring
    reads: tuple[Read, ...] = ()
    prompt: str = ""
    """The text to continue, for scorings that generate."""
    truncated: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """Unique key of its record within the run."""
        return (self.benchmark.name, self.example.id, self.scoring.name)


@dataclass(frozen=True)
class Chunk:
    """Jobs computed together, with a shared prefix of token ids."""

    jobs: tuple[ScoringJob, ...]
    prefix: tuple[int, ...] = ()


@dataclass(frozen=True)
class RunPlan:
    """All chunks of a run, in the order in which they are computed and written."""

    chunks: tuple[Chunk, ...]

    @property
    def jobs(self) -> list[ScoringJob]:
        """All jobs, in the order of their records."""
        return [job for chunk in self.chunks for job in chunk.jobs]


def sample(examples: Sequence[Example], limit: int | None, seed: int) -> list[Example]:
    """Sample examples without changing their order; the positions depend only on sizes and seed.

    So for the 4- and 5-option forms of MedQA, which list the same questions in the same order, the
    same questions are chosen, and their stems are shared.
    """
    if limit is None or limit >= len(examples):
        return list(examples)
    chosen = random.Random(seed).sample(range(len(examples)), limit)  # noqa: S311
    return [examples[i] for i in sorted(chosen)]


def choose_fewshot(pool: Dataset, num: int, seed: int, asked: Iterable[Example]) -> list[Example]:
    """Draw few-shot examples, none of which has a question that is asked.

    Questions of the pool that share a vignette with a test question are excluded as well.
    """
    questions = {example.question.strip().lower() for example in asked}
    free = [e for e in pool.clean_examples if e.question.strip().lower() not in questions]
    return random.Random(seed).sample(free, min(num, len(free)))  # noqa: S311


def make_plan(
    runtime: Runtime,
    lanes: Sequence[tuple[Prompter, Sequence[Example]]],
    debias: str,
    max_tokens: int,
    advance: Callable[[int, int], None] | None = None,
) -> RunPlan:
    """Tokenize all requests and divide them into chunks.

    Args:
        runtime: provides tokenizer, context length and pack size.
        lanes: prompters with their questions.
        debias: ``none``, ``permutations`` or ``prior``.
        max_tokens: tokens reserved for a generated answer.
        advance: called with the number of texts tokenized so far and the total.
    """
    scored = [(p, examples) for p, examples in lanes if not p.scoring.generates]
    jobs = _draft(runtime, scored, debias, advance or (lambda *_: None))
    chunks: list[Chunk] = []
    for lane in _by_lane(jobs):
        prefix = _pinned([read.request for job in lane for read in job.reads])
        chunks += _cut(_by_question(lane), prefix, runtime)
    for prompter, examples in lanes:
        if prompter.scoring.generates:
            chunks += [Chunk((_generation(runtime, prompter, e, max_tokens),)) for e in examples]
    return RunPlan(tuple(chunks))


@dataclass(frozen=True)
class _Draft:
    prompter: Prompter
    example: Example
    texts: tuple[tuple[int, str, str, str], ...]  # rotation, original label, context, continuation
    truncated: bool


def _draft(
    runtime: Runtime,
    lanes: Sequence[tuple[Prompter, Sequence[Example]]],
    debias: str,
    advance: Callable[[int, int], None],
) -> list[ScoringJob]:
    drafts = [
        _first_draft(runtime, prompter, example, debias)
        for prompter, lane in lanes
        for example in lane
    ]
    jobs: list[ScoringJob] = []
    pairs = list(dict.fromkeys(text[2:] for draft in drafts for text in draft.texts))
    encoded: dict[tuple[str, ...], Request] = {}
    for start in range(0, len(pairs), ENCODE_BATCH):
        batch = [(context, continuation) for context, continuation in pairs[start:][:ENCODE_BATCH]]
        encoded.update(zip(batch, runtime.encode_pairs(batch), strict=True))
        advance(min(start + ENCODE_BATCH, len(pairs)), len(pairs))
    for whole in drafts:
        draft = whole
        found = [encoded[text[2:]] for text in draft.texts]
        longest = max(len(request.tokens) for request in found)
        if longest - 1 > runtime.info.context_length:  # the last token is scored but not an input
            draft = _shorten(runtime, whole, longest, debias)
            found = runtime.encode_pairs([(c, k) for _, _, c, k in draft.texts])
        reads = tuple(
            Read(rotation, label, request)
            for (rotation, label, _, _), request in zip(draft.texts, found, strict=True)
        )
        prompter = draft.prompter
        jobs.append(
            ScoringJob(
                prompter.benchmark,
                draft.example,
                prompter.scoring,
                reads,
                truncated=draft.truncated or any(request.cut for request in found),
            )
        )
    return jobs


def _first_draft(runtime: Runtime, prompter: Prompter, example: Example, debias: str) -> _Draft:
    """Write the texts of a job; far too long ones are shortened before options are tokenized."""
    limit = runtime.info.context_length
    context = example.context or ""
    if len(context) + len(example.question) <= LONG_CHARACTERS * limit:
        return _write(prompter, example, debias)
    short = replace(
        example,
        context=context[-LONG_CHARACTERS:] or None,
        question=example.question[-LONG_CHARACTERS:],
    )
    pairs = [(context, text) for _, _, context, text in _write(prompter, short, debias).texts]
    longest = max(len(one.tokens) - one.start for one in runtime.encode_pairs(pairs))
    return _write(prompter, example, debias, room=(runtime, limit + 1 - max(longest, 1)))


def _write(
    prompter: Prompter, example: Example, debias: str, *, room: tuple[Runtime, int] | None = None
) -> _Draft:
    """Write all (context, continuation) texts of a job, cut to ``room`` (tokens) if given."""
    turned = debias == "permutations" and not prompter.scoring.paired
    turns = prompter.benchmark.num_rotations(example) if turned else 1
    shown = [(r, rotate(example, r)) for r in range(turns)]
    if debias == "prior":
        shown.append((PRIOR, _content_free(example)))
    labels = list(example.options)
    texts: list[tuple[int, str, str, str]] = []
    cut = False
    for r, asked in shown:
        if room is None:
            context = prompter.text(asked)
        else:
            context, shorter = prompter.fit(
                asked, room=room[1], count=lambda text: len(room[0].encode_batch([text])[0])
            )
            cut = cut or shorter
        for label in labels:
            original = original_label(labels, label, max(r, 0))
            texts.append((r, original, context, prompter.scoring.continuation(asked, label)))
    return _Draft(prompter, example, tuple(texts), cut)


def _shorten(runtime: Runtime, draft: _Draft, longest: int, debias: str) -> _Draft:
    """Rewrite the texts without the beginning of the context, so that the longest fits."""
    contexts = [context for _, _, context, _ in draft.texts]
    alone = max(len(tokens) for tokens in runtime.encode_batch(contexts))
    continuation = longest - alone
    room = runtime.info.context_length + 1 - max(continuation, 1)
    return _write(draft.prompter, draft.example, debias, room=(runtime, room))


def _content_free(example: Example) -> Example:
    """Replace question and context by "N/A", keep options (Zhao et al. 2021, arXiv 2102.09690).

    For option texts, the likelihood ratio to this is the domain-conditional PMI of Holtzman et al.
    2021 (arXiv 2104.08315).
    """
    return Example(
        id=example.id,
        question="N/A",
        context="N/A" if example.context else None,
        options=example.options,
        answer=example.answer,
    )


def _generation(
    runtime: Runtime, prompter: Prompter, example: Example, max_tokens: int
) -> ScoringJob:
    room = runtime.info.context_length - max_tokens
    text, cut = prompter.fit(
        example, room=room, count=lambda text: len(runtime.encode_batch([text])[0])
    )
    return ScoringJob(prompter.benchmark, example, prompter.scoring, prompt=text, truncated=cut)


def _by_lane(jobs: Sequence[ScoringJob]) -> list[list[ScoringJob]]:
    """Group jobs by common prefix: all together, or one group per few-shot prefix."""
    if not jobs:
        return []
    together = _pinned([read.request for job in jobs for read in job.reads])
    lanes: dict[object, list[ScoringJob]] = defaultdict(list)
    for job in jobs:
        lanes[job.benchmark.name, job.scoring.name].append(job)
    apart = {
        key: _pinned([read.request for job in lane for read in job.reads])
        for key, lane in lanes.items()
    }
    if all(len(prefix) <= len(together) + MIN_PINNED for prefix in apart.values()):
        return [list(jobs)]
    merged: dict[tuple[int, ...], list[ScoringJob]] = defaultdict(list)
    for key, lane in lanes.items():
        merged[apart[key]] += lane
    return list(merged.values())


def _pinned(requests: Sequence[Request]) -> tuple[int, ...]:
    """Return the token prefix shared by all requests; empty if too short to be worth caching."""
    shared = common_prefix_length([request.tokens for request in requests])
    length = min([shared, *(request.start - 1 for request in requests)])
    return requests[0].tokens[:length] if requests and length >= MIN_PINNED else ()


def _by_question(jobs: Sequence[ScoringJob]) -> list[list[ScoringJob]]:
    """Group jobs that ask the same question (both MedQA forms, all scorings)."""
    groups: dict[str, list[ScoringJob]] = defaultdict(list)
    for job in jobs:
        groups[job.example.id].append(job)
    return list(groups.values())


def _cut(
    groups: Sequence[list[ScoringJob]], prefix: tuple[int, ...], runtime: Runtime
) -> list[Chunk]:
    """Fill chunks with whole groups, up to the runtime's pack size and leaf limit."""
    chunks: list[Chunk] = []
    jobs: list[ScoringJob] = []
    rows = leaves = 0
    for group in groups:
        pack = build_pack([read.request for job in group for read in job.reads], prefix)
        full = rows + len(pack.tokens) > runtime.pack_tokens
        if jobs and (full or leaves + pack.num_leaves > runtime.max_leaves):
            chunks.append(Chunk(tuple(jobs), prefix))
            jobs, rows, leaves = [], 0, 0
        jobs += group
        rows += len(pack.tokens)
        leaves += pack.num_leaves
    if jobs:
        chunks.append(Chunk(tuple(jobs), prefix))
    return chunks
