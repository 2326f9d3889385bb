"""A command that is killed in its training, and given again."""

from __future__ import annotations

import signal
from pathlib import Path

from commands import galenic

__all__ = ["kill_and_go_on"]


def kill_and_go_on(call: list[object], output: Path, steps: int) -> None:
    """Kill the command in the step after so many, and let it go on to its end."""
    dies = {"place": "galenic.training.loop:Trainer._learn", "count": steps + 1}
    killed = galenic(*call, output, changed=dies)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    log = output.with_name(f".{output.name}.run") / "state" / "log.jsonl"
    assert log.exists()
    assert not output.exists()
    again = galenic(*call, output)
    assert again.returncode == 0, again.stderr
    assert "resuming after step" in again.stderr
