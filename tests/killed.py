"""A command that is killed in its training, and given again."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

__all__ = ["kill_and_go_on"]


def kill_and_go_on(call: list[str], output: Path, lines: int) -> None:
    """Kill the command once its log has more than so many lines, and let it go on to its end."""
    killed = subprocess.Popen([*call, str(output)], stderr=subprocess.PIPE)
    log = output.with_name(f".{output.name}.run") / "state" / "log.jsonl"
    while killed.poll() is None and not (
        log.exists() and len(log.read_text().splitlines()) > lines
    ):
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    killed.communicate()
    assert not output.exists()
    again = subprocess.run([*call, str(output)], capture_output=True, check=True)
    assert b"resuming after step" in again.stderr
