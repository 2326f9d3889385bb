import psutil
import pytest

from galenic.errors import UserError
from galenic.runtimes import threads
from galenic.runtimes.threads import choose_threads


@pytest.fixture(autouse=True)
def nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GALENIC_THREADS", raising=False)


@pytest.mark.parametrize(
    ("cores", "busy", "expected"),
    [
        (2, 0.0, 2),
        (2, 0.1, 2),  # a desktop's own noise
        (2, 1.0, 1),  # one busy process: two threads would wait for each other
        (2, 2.0, 1),  # never none
        (8, 0.0, 8),
        (8, 2.1, 6),
        (8, 2.6, 5),
        (1, 5.0, 1),
    ],
)
def test_leaves_busy_cores_alone(cores: int, busy: float, expected: int) -> None:
    assert choose_threads(cores, busy) == expected


def test_measures_the_live_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: 50.0)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 8 if logical else 4)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda pid: range(8), raising=False)
    assert choose_threads() == 1  # half of 8 logical cores = all 4 physical ones
    assert choose_threads(busy=0.0) == 4


def test_respects_the_cores_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 16)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda pid: {3, 5}, raising=False)
    assert choose_threads(busy=0.0) == 2


def test_the_environment_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALENIC_THREADS", "3")
    assert choose_threads(cores=1, busy=1.0) == 3
    for wrong in ("0", "-1", "two", "1.5", "²"):
        monkeypatch.setenv("GALENIC_THREADS", wrong)
        with pytest.raises(UserError, match="GALENIC_THREADS"):
            choose_threads()


def test_a_fixed_number_counts_until_it_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALENIC_THREADS", "5")
    with threads.fixed_threads(3):
        assert choose_threads(busy=9.0) == threads.asked_threads() == 3
        with threads.fixed_threads(None):
            assert choose_threads() == 3
    assert choose_threads() == 5
