"""Early estimate of the duration of a run, and of a smaller run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from galenic.evaluation.plan import Chunk, RunPlan
from galenic.units import about_time

__all__ = ["Duration"]

AFTER = 5.0
"""Seconds of computing after which the speed is known well enough."""
SHORT = 60.0
"""No estimate is given if fewer seconds are left."""
SMALL = 100
"""Questions per benchmark in the smaller run that is suggested."""
SHORTER = 0.8
"""Share of the work below which the smaller run is worth suggesting."""


class Duration:
    """Estimates the remaining time from the work done so far.

    The work of a question is estimated as the number of tokens of its longest request, since the
    prefix that its options share is computed once; of generated answers, as the prompt's length.

    Args:
        plan: plan of the run.
        begun: number of chunks that an earlier run has finished.
    """

    def __init__(self, plan: RunPlan, begun: int) -> None:
        self.sizes = [_size(chunk) for chunk in plan.chunks]
        self.begun, self.told = begun, False
        self.small = _share_of_small(plan, self.sizes)

    def say(self, number: int, seconds: float) -> str | None:
        """Return the estimate as text, once; None before the speed is known and for short runs.

        Args:
            number: index of the last computed chunk.
            seconds: computing time of this run so far.
        """
        if self.told or seconds < AFTER:
            return None
        self.told = True
        pace = seconds / sum(self.sizes[self.begun : number + 1])
        left = pace * sum(self.sizes[number + 1 :])
        if left < SHORT:
            return None
        line = f"about {about_time(left)} left on this machine"
        if self.small < SHORTER and self.begun == 0:
            small = about_time(pace * sum(self.sizes) * self.small)
            line += f"; --limit {SMALL} takes about {small}"
        return line


def _size(chunk: Chunk) -> int:
    return len(chunk.prefix) + sum(
        max((len(read.request.tokens) for read in job.reads), default=len(job.prompt) // 4 + 1)
        for job in chunk.jobs
    )


def _share_of_small(plan: RunPlan, sizes: Sequence[int]) -> float:
    """Share of the total work that `SMALL` questions per benchmark and scoring need."""
    count: Counter[tuple[str, str]] = Counter()
    work: defaultdict[tuple[str, str], float] = defaultdict(float)
    for chunk, size in zip(plan.chunks, sizes, strict=True):
        for job in chunk.jobs:
            group = (job.benchmark.name, job.scoring.name)
            count[group] += 1
            work[group] += size / len(chunk.jobs)
    small = sum(work[group] * min(1, SMALL / count[group]) for group in count)
    return small / sum(sizes)
