"""A command that is killed in its training, and given again."""

from __future__ import annotations

import signal
from pathlib import Path

from commands import galenic

__all__ = ["STEP", "kill_and_go_on"]


STEP = "galenic.training.loop:Trainer._learn"


def kill_and_go_on(
    call: list[object], output: Path, steps: int, place: str = STEP, count: int = 0
) -> str:
    """Kill the command after so many steps of its training, and let it go on to its end.

    Args:
        call: the command, without the value of ``-o`` at its end.
        output: that value.
        steps: how many are done before it is killed.
        place: the function that kills it, ``module:Class.name``.
        count: the call of it that does so; 0: that of the step which follows.

    Returns:
        What the second run says.
    """
    dies = {"place": place, "count": count or steps + 1}
    killed = galenic(*call, output, changed=dies)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    log = output.with_name(f".{output.name}.run") / "state" / "log.jsonl"
    assert log.exists()
    assert not output.exists()
    again = galenic(*call, output)
    assert again.returncode == 0, again.stderr
    assert ("resuming after step" in again.stderr) == (steps > 0)
    return again.stderr
