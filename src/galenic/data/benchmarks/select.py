"""Resolve the value of ``--benchmarks`` to benchmark objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from galenic.data.benchmarks.base import Benchmark
from galenic.data.benchmarks.custom import custom_benchmark, is_custom
from galenic.data.exams.exam import ExamOptions
from galenic.errors import UserError, unknown_name
from galenic.registry import BENCHMARKS

__all__ = ["GROUPS", "resolve_benchmarks"]

GROUPS = {"medqa": ("medqa_4options", "medqa_5options"), "all": tuple(BENCHMARKS.own)}
"""Names for groups of benchmarks; ``all`` means all that Galenic includes."""
_SAMPLE = "sample"


def resolve_benchmarks(names: Sequence[str], exam: ExamOptions | None = None) -> list[Benchmark]:
    """Expand names, comma lists, groups and question files, in order and without repeats.

    ``sample`` stands for all benchmarks over the questions shipped with the package.

    Args:
        names: values as the user wrote them.
        exam: how to read question files; None = detect it.

    Raises:
        UserError: a name is unknown, no name is given, a file is missing, or two different question
            sets would have the same name.
    """
    wanted = [part.strip() for name in names for part in name.split(",") if part.strip()]
    if not wanted:
        raise UserError(f"no benchmark is named. Known: {', '.join(_known())}.")
    chosen: list[Benchmark] = []
    for name in wanted:
        chosen += [found for found in _expand(name, exam) if found not in chosen]
    twice = [name for name, count in Counter(b.name for b in chosen).items() if count > 1]
    if twice:
        raise UserError(
            f"two sets of questions would both be called {twice[0]!r} in the results "
            f"({' and '.join(b.title for b in chosen if b.name == twice[0])}): run them separately."
        )
    if exam is not None and exam != ExamOptions() and all(one.exam is None for one in chosen):
        raise UserError("--map and --answers-are are for your own exams; none is named.")
    return chosen


def _expand(name: str, exam: ExamOptions | None) -> list[Benchmark]:
    if name == _SAMPLE:
        return [BENCHMARKS.load(each).sample() for each in BENCHMARKS.own]
    if is_custom(name) or ("/" in name and Path(name).is_dir()):
        return [custom_benchmark(name, exam)]
    if name in GROUPS:
        return [BENCHMARKS.load(each) for each in GROUPS[name]]
    if name not in BENCHMARKS:
        if Path(name).exists():
            return [custom_benchmark(name, exam)]
        raise unknown_name("benchmark", name, [*_known(), "FILE.jsonl"])
    return [BENCHMARKS.load(name)]


def _known() -> list[str]:
    return [*BENCHMARKS, *GROUPS, _SAMPLE]
