"""How long a run will take on this machine, said early, and what a smaller one would take."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from galenic.evaluation.plan import Chunk, RunPlan

__all__ = ["Duration"]

AFTER = 5.0
"""Seconds of computing after which the pace is known well enough."""
SHORT = 60.0
"""Seconds: nothing is said of a run that ends sooner."""
SMALL = 100
"""Questions of each benchmark in the smaller run that is offered."""


class Duration:
    """Foresees the time left from what was computed so far.

    Work is counted in tokens of the longest text of each answer: what answers share is computed
    once. Generated answers count by their prompts.

    Args:
        plan: of the run.
        begun: chunks that an earlier run has done.
    """

    def __init__(self, plan: RunPlan, begun: int) -> None:
        self.sizes = [_size(chunk) for chunk in plan.chunks]
        self.begun, self.told = begun, False
        self.small = _share_of_small(plan, self.sizes)

    def say(self, number: int, seconds: float) -> str | None:
        """One line, once; None before the pace is known and for short runs.

        Args:
            number: of the chunk that was computed last.
            seconds: of computing so far in this run.
        """
        if self.told or seconds < AFTER:
            return None
        self.told = True
        pace = seconds / sum(self.sizes[self.begun : number + 1])
        left = pace * sum(self.sizes[number + 1 :])
        if left < SHORT:
            return None
        line = f"about {_words(left)} left on this machine"
        if self.small < 1 and self.begun == 0:
            line += f"; --limit {SMALL} takes about {_words(pace * sum(self.sizes) * self.small)}"
        return line


def _size(chunk: Chunk) -> int:
    return len(chunk.prefix) + sum(
        max((len(read.request.tokens) for read in job.reads), default=len(job.prompt) // 4 + 1)
        for job in chunk.jobs
    )


def _share_of_small(plan: RunPlan, sizes: Sequence[int]) -> float:
    """Share of the work that `SMALL` questions of each benchmark and scoring are."""
    count: Counter[tuple[str, str]] = Counter()
    work: defaultdict[tuple[str, str], float] = defaultdict(float)
    for chunk, size in zip(plan.chunks, sizes, strict=True):
        for job in chunk.jobs:
            group = (job.benchmark.name, job.scoring.name)
            count[group] += 1
            work[group] += size / len(chunk.jobs)
    small = sum(work[group] * min(1, SMALL / count[group]) for group in count)
    return small / sum(sizes)


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"{round(seconds, -1):.0f} seconds"
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
