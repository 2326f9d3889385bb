"""Engine that runs nodes as processes on this machine, limited by its memory and cores."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil

from galenic.study.engines.base import THREADS, Engine, thread_environment, threads_each
from galenic.study.node import command_of
from galenic.study.store import LOG
from galenic.units import format_threads

__all__ = ["LocalEngine"]

SHARE = 0.8
"""Share of the machine's memory available to all running nodes together."""
PATIENCE = 10.0
"""Seconds that a process may take to end after being terminated."""


class LocalEngine(Engine):
    """Runs nodes as child processes.

    Args:
        jobs: maximum number of simultaneous nodes; None = one per four cores.
        address: unused by this engine; must be None.
    """

    name = "local"

    def __init__(self, jobs: int | None = None, address: str | None = None) -> None:
        from galenic.errors import UserError

        if address is not None:
            raise UserError("--address needs --engine ray.")
        cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
        self.jobs = jobs or max(1, cores // THREADS)
        self.threads = threads_each(cores // self.jobs)
        self.budget = int(SHARE * psutil.virtual_memory().total)
        self.running: dict[Path, tuple[subprocess.Popen[bytes], int]] = {}
        self.where = f"this machine, {self.jobs} at once, {format_threads(self.threads)} each"

    def fits(self, needed: int) -> bool:
        if not self.running:
            return True  # a single node may always try
        used = sum(bytes_needed for _, bytes_needed in self.running.values())
        return len(self.running) < self.jobs and used + needed <= self.budget

    def start(self, folder: Path, needed: int) -> None:
        with (folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                command_of(folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=thread_environment(self.threads),
            )
        self.running[folder] = process, needed

    def ended(self) -> dict[Path, int]:
        found = {
            folder: process.returncode
            for folder, (process, _) in self.running.items()
            if process.poll() is not None
        }
        for folder in found:
            del self.running[folder]
        return found

    def stop(self) -> None:
        for process, _ in self.running.values():
            process.terminate()
        for process, _ in self.running.values():
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running.clear()
