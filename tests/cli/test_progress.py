"""The bar, and the lines that stay below it."""

from __future__ import annotations

from io import StringIO

import pytest
import typer
from rich.console import Console

from galenic.cli.progress import ConsoleWatcher, watched


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
    with ConsoleWatcher(Console(file=out, width=100)) as watcher:
        watcher.stage("training", total=10)
        watcher.keep("step 0\n  medqa [A] 5")
    assert out.getvalue() == "training: 10 to do\nstep 0\n  medqa [A] 5\n"


def test_control_c_says_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as stop, watched("Nothing was written."):
        raise KeyboardInterrupt
    assert stop.value.exit_code == 130
    assert capsys.readouterr().err.endswith("stopped. Nothing was written.\n")
