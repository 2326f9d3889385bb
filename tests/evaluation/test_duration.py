"""Time left and the smaller run, on plans whose work can be counted by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from galenic.evaluation.duration import Duration


def job(benchmark: str, tokens: int) -> Any:
    reads = (SimpleNamespace(request=SimpleNamespace(tokens=range(tokens))),)
    return SimpleNamespace(
        benchmark=SimpleNamespace(name=benchmark),
        scoring=SimpleNamespace(name="letter"),
        reads=reads,
        prompt="",
    )


def plan(*chunks: list[Any]) -> Any:
    return SimpleNamespace(chunks=[SimpleNamespace(prefix=(), jobs=jobs) for jobs in chunks])


def test_time_left_is_tokens_left_at_the_pace_so_far() -> None:
    chunks = [[job("a", 50)] * 10 for _ in range(40)]
    duration = Duration(plan(*chunks), 0)
    assert duration.say(0, 4.0) is None  # the pace is not known yet
    line = duration.say(1, 60.0)  # 30 s each, 38 left; 100 of 400 questions are 10 chunks
    assert line == "about 19 minutes left on this machine; --limit 100 takes about 5 minutes"
    assert duration.say(2, 90.0) is None


def test_long_texts_count_for_what_they_are() -> None:
    duration = Duration(plan([job("a", 10)], [job("b", 990)], [job("b", 990)]), 0)
    assert duration.say(0, 6.0) == "about 20 minutes left on this machine"  # nothing to leave out


@pytest.mark.parametrize(("begun", "said"), [(0, True), (1, False)])
def test_a_run_that_goes_on_offers_no_smaller_one(begun: int, said: bool) -> None:
    chunks = [[job("a", 10)] * 100 for _ in range(100)]
    line = Duration(plan(*chunks), begun).say(1, 60.0) or ""
    assert line.startswith("about")
    assert ("--limit" in line) == said


def test_nothing_is_said_of_a_short_run() -> None:
    assert Duration(plan([job("a", 10)], [job("a", 10)]), 0).say(0, 6.0) is None


def test_a_run_with_few_questions_is_offered_no_smaller_one() -> None:
    """Sizes over three jobs are thirds, whose sum is a little less than the whole."""
    chunks = [[job("a", 7)] * 3 for _ in range(20)] + [[job("b", 1)] * 35] * 3  # 60 and 105
    line = Duration(plan(*chunks), 0).say(1, 600.0)
    assert line is not None
    assert "--limit" not in line
