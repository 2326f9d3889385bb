"""Run the commands of a README in order and compare what they print with what it shows.

    python tools/readme_blocks.py README.md

A fenced block whose lines begin with ``$`` is a command with its output; ``...`` stands for any
lines, and at the end of a line for its rest. A block with no ``$`` that begins with
``python3 -m venv`` is the installation. Numbers are not compared. Commands that need PyTorch run
with the environment that the variable TRAIN names.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[▁-█·]+|[-+−]?\d*[.,]?\d+(?:[.,:–]\d+)*")
NEEDS_TRAIN = ("galenic compress", "galenic inspect dose", "galenic evaluate dose")
LIMIT = int(os.environ.get("LIMIT", "900"))
"""Seconds a command may take."""


@dataclass
class Step:
    """A command and the lines that it is said to print."""

    command: str
    expected: list[str] = field(default_factory=list)


def steps(text: str) -> Iterator[Step]:
    for match in BLOCK.finditer(text):
        lines = match[1].splitlines()
        if lines and lines[0].startswith("python3 -m venv"):
            yield Step("\n".join(lines))
        step = None
        for line in lines:
            if line.startswith("$ "):
                if step:
                    yield step
                step = Step(line[2:])
            elif step:
                step.expected.append(line)
        if step:
            yield step


def masked(line: str) -> str:
    """Without numbers, bars and the width of gaps."""
    return re.sub(r"\s+", " ", NUMBER.sub("#", line)).strip()


def stale(expected: list[str], printed: str) -> str:
    """The first expected line that is not printed where it should be, or ""."""
    lines = [masked(line) for line in printed.splitlines()]
    at, anywhere = 0, True
    for line in expected:
        if line.strip() == "...":
            anywhere = True
            continue
        found = next((n for n in range(at, len(lines)) if _same(line, lines[n])), None)
        if found is None or (found > at and not anywhere):
            return line
        at, anywhere = found + 1, False
    return ""


def _same(line: str, printed: str) -> bool:
    wanted = masked(line)
    if wanted.endswith(" ..."):
        return printed.startswith(wanted.removesuffix("..."))
    return printed == wanted


def run(step: Step, train: str, limit: float = LIMIT) -> tuple[str, str]:
    """What was printed, and what is wrong, if anything, within so many seconds."""
    needs = step.command.startswith(NEEDS_TRAIN)
    if needs and not train:
        return "", "skipped"
    into = f'export PATH="{train}:$PATH"' if needs else ". .venv/bin/activate 2>/dev/null || true"
    with subprocess.Popen(
        ["bash", "-ec", f"{into}\n{step.command}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            printed, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # what the command started, too
            printed, _ = process.communicate()
            return printed, f"not finished within {limit:g} s (LIMIT=3600 gives it longer)"
    if process.returncode:
        return printed, f"status {process.returncode}: {errors.strip()[-600:]}"
    missing = stale(step.expected, printed)
    return printed, f"README shows a line that is not printed: {missing!r}" if missing else ""


def _computing() -> float:
    """Seconds of processor time of all commands so far: what does not depend on other programs."""
    times = os.times()
    return times.children_user + times.children_system


def main() -> int:
    failed = 0
    begun = time.monotonic()
    for step in steps(Path(sys.argv[1]).read_text("utf-8")):
        start, before = time.monotonic(), _computing()
        printed, wrong = run(step, os.environ.get("TRAIN", ""))
        word = "skip" if wrong == "skipped" else "FAIL" if wrong else "ok"
        first = step.command.splitlines()[0]
        took, computed = time.monotonic() - start, _computing() - before
        print(f"{word:5}{took:7.1f} s, computing {computed:6.1f} s  {first}", flush=True)
        if word == "FAIL":
            failed += 1
            print(f"      {wrong}\n      it printed:\n{printed}", flush=True)
    print(f"{time.monotonic() - begun:.0f} s in all, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
