"""Engine that runs nodes on a Ray cluster, an existing one or one started on this machine.

The study's folder, the data and the models must have the same paths on every machine of the
cluster, and Galenic must be installed there. Ray replaces a worker that dies and runs its node
again (https://docs.ray.io/en/latest/ray-core/fault_tolerance/tasks.html).
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psutil

from galenic.errors import UserError
from galenic.private_ray import lock_ray, start_private_ray
from galenic.study.engines.base import THREADS, Engine, thread_environment, threads_each
from galenic.study.node import command_of
from galenic.study.store import LOG
from galenic.units import format_threads

__all__ = ["RayEngine"]

RETRIES = 2
"""How often Ray restarts a node whose worker died."""
LOST = -9
"""Exit status of a node whose worker died more often."""


def work(folder: str, threads: int) -> int:
    """Execute a node on the machine where this is called; return its exit status."""
    with (Path(folder) / LOG).open("ab") as log:
        return subprocess.run(
            command_of(Path(folder)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=thread_environment(threads),
            check=False,
        ).returncode


class RayEngine(Engine):
    """Runs nodes as Ray tasks.

    Args:
        jobs: maximum number of simultaneous nodes; None = by the cluster's cores.
        address: address of the cluster; None starts a private one on this machine: on loopback,
            with token authentication.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """

    name = "ray"
    folder: tempfile.TemporaryDirectory[str] | None = None
    """Folder of mode 0700 for sockets and logs of a private cluster."""

    def __init__(self, jobs: int | None = None, address: str | None = None) -> None:
        if address is None:
            lock_ray()  # before the import, which reads it
        self.ray = _import_ray()
        cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
        self._begin(address, cores)
        total = max(1, int(self.ray.cluster_resources().get("CPU", 1)))
        self.threads = threads_each(min(THREADS, total // jobs if jobs else THREADS, total))
        self.jobs = jobs or max(1, total // self.threads)
        self.task = self.ray.remote(num_cpus=min(self.threads, total), max_retries=RETRIES)(work)
        self.running: dict[Any, Path] = {}
        machines = len(self.ray.nodes())
        self.where = (
            f"Ray {self.ray.__version__}, {machines} machine{'s' if machines > 1 else ''} with "
            f"{total} processors, {self.jobs} at once, {format_threads(self.threads)} each"
        )

    def _begin(self, address: str | None, cores: int) -> None:
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            self.folder = tempfile.TemporaryDirectory(prefix="galenic-", ignore_cleanup_errors=True)
            start_private_ray(self.folder.name, num_cpus=cores, logging_level="ERROR")
            return
        try:
            self.ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(
                f"--address {address}: no Ray cluster answers there ({error}). Start one with "
                "`ray start --head`, or leave --address out."
            ) from error

    def fits(self, needed: int) -> bool:  # noqa: ARG002 - Ray counts memory itself
        return len(self.running) < self.jobs

    def start(self, folder: Path, needed: int) -> None:
        most = int(self.ray.cluster_resources().get("memory", needed))
        options = {"memory": min(needed, most)}  # so that too large a node can still be scheduled
        self.running[self.task.options(**options).remote(str(folder), self.threads)] = folder

    def ended(self) -> dict[Path, int]:
        if not self.running:
            return {}
        ready, _ = self.ray.wait(list(self.running), num_returns=len(self.running), timeout=0)
        return {self.running.pop(one): self._status(one) for one in ready}

    def _status(self, one: Any) -> int:
        try:
            return int(self.ray.get(one))
        except (self.ray.exceptions.RayError, OSError):
            return LOST

    def stop(self) -> None:
        for one in self.running:
            self.ray.cancel(one, force=True)
        self.running.clear()
        self.ray.shutdown()
        if self.folder is not None:
            self.folder.cleanup()


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "--engine ray needs the library ray: pip install 'galenic[ray]'."
        ) from error
    return ray
