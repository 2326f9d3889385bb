"""The bar, and the lines that stay below it."""

from __future__ import annotations

from io import StringIO
from threading import RLock
from types import SimpleNamespace

import pytest
import typer
from rich.console import Console

from galenic.cli.progress import ConsoleWatcher, watched
from galenic.units import format_time
from galenic.watcher import StepWatcher


def test_lines_stay_below_the_bar_until_others_come() -> None:
    out = StringIO()
    with ConsoleWatcher(Console(file=out, force_terminal=True, width=100)) as watcher:
        watcher.stage("training", total=10)
        watcher.keep("step 0\n  medqa [A] 5")
        watcher.advance(3, "loss 1.0")
        watcher.keep("step 1\n  medqa [A] 6")
        watcher.advance(4, "loss 0.9")
    shown = out.getvalue()
    assert shown.rindex("training") < shown.rindex("step 1") < shown.rindex("medqa [A] 6")
    assert shown.rindex("step 0") < shown.index("step 1")


def test_without_a_terminal_they_are_plain_lines() -> None:
    out = StringIO()
    with ConsoleWatcher(Console(file=out, width=12)) as watcher:  # breaks no line of a file
        watcher.stage("training", total=10)
        watcher.keep("step 0\n  medqa [A] 5")
    assert out.getvalue() == "training: 10 to do\nstep 0\n  medqa [A] 5\n"


def test_long_work_says_early_how_long_and_then_how_far(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("galenic.cli.progress.time", clock)
    out = StringIO()
    watcher = ConsoleWatcher(Console(file=out, width=100), less="--max-steps N stops earlier")
    watcher.stage("training", total=1000)
    for seconds, done in ((2, 4), (6, 10), (8, 14), (26, 40)):
        now[0] = seconds
        watcher.advance(done)
    assert out.getvalue().splitlines() == [
        "training: 1000 to do",
        "training: about 10 minutes on this machine; --max-steps N stops earlier",  # 990 x 0.6 s
        "training: 40 of 1000, 1.5 items/s, 26 s elapsed, 10 min left",  # 960 x 0.65 s
    ]


def test_short_work_is_not_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("galenic.cli.progress.time", clock)
    out = StringIO()
    watcher = ConsoleWatcher(Console(file=out, width=100))
    watcher.stage("reading", total=100)
    now[0] = 6
    watcher.advance(20)  # 24 s are left
    assert out.getvalue() == "reading: 100 to do\n"


def test_the_bar_says_elapsed_and_left_in_words() -> None:
    from rich.progress import Task

    from galenic.cli.progress import _Clock

    now = [0.0]
    task = Task(0, "x", 100.0, 0.0, _get_time=lambda: now[0], _lock=RLock())
    task.start_time = 0.0
    now[0] = 15.0
    assert _Clock().render(task).plain == "15 s elapsed"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min"), (65, "1 min 5 s"), (600, "10 min"),
     (3599, "59 min"), (3600, "1 h"), (7500, "2 h 5 min")],
)  # fmt: skip
def test_times_are_in_words(seconds: float, shown: str) -> None:
    assert format_time(seconds) == shown


@pytest.mark.parametrize("terminal", [True, False])
def test_names_are_no_markup(terminal: bool) -> None:
    out = StringIO()
    with ConsoleWatcher(Console(file=out, force_terminal=terminal, width=100)) as watcher:
        watcher.stage("opening [/red] [link=x]", total=10)
        watcher.advance(1, "[/blue]")
        watcher.say("[/green]")
        watcher.keep("[/bold]")
    assert "opening [/red] [link=x]" in out.getvalue()


def test_control_c_says_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as stop, watched("Nothing was written."):
        raise KeyboardInterrupt
    assert stop.value.exit_code == 130
    assert capsys.readouterr().err.endswith("stopped. Nothing was written.\n")


def test_a_study_says_what_is_left_at_the_pace_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    from galenic.cli.board import StudyBoard

    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("galenic.cli.board.time", clock)
    out = StringIO()
    board = StudyBoard({"a": "A", "b": "B", "c": "C"}, Console(file=out, width=100))
    board.update({"a": "done", "b": "waiting", "c": "waiting"}, {})
    now[0] = 120
    board.update({"a": "done", "b": "done", "c": "waiting"}, {})
    assert out.getvalue().splitlines() == [
        "1 of 3 nodes done, 2 waiting; 0 s elapsed",
        "B: done  (2 of 3 nodes done, 1 waiting; 2 min elapsed, about 2 minutes left at this pace)",
    ]


def test_progress_on_a_file_is_in_megabytes() -> None:
    out = StringIO()
    with ConsoleWatcher(Console(file=out, width=100)) as watcher:
        steps = StepWatcher(watcher)
        steps.show("checking model.safetensors", 0, 7_392_272)
        steps.show("checking model.safetensors", 7_392_272, 7_392_272)
    assert out.getvalue() == "checking model.safetensors, MB: 8 to do\n"
