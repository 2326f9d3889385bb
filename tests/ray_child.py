"""Ray for this process alone, in a process of its own: ``ray_child.py study|federated``.

Prints one JSON line: where it is reached, what listens, its key, how private its folder is; and
ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
from pathlib import Path

import psutil


def main() -> None:
    if sys.argv[1] == "study":
        from galenic.study.engines.ray import RayEngine

        engine = RayEngine(jobs=1)
        assert engine.folder is not None
        folder = engine.folder.name
    else:
        from galenic.private_ray import lock_ray
        from galenic.training.federated.run import _start_engine

        folder = tempfile.mkdtemp()
        lock_ray()
        _start_engine(1, 1 << 27, folder)
    import ray

    ray.get(ray.remote(lambda: 1).remote())  # workers listen too
    here = psutil.Process()
    listening = [
        (process.name(), connection.laddr.ip)
        for process in (here, *here.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    address = ray.get_runtime_context().gcs_address
    mode = stat.S_IMODE(Path(folder).stat().st_mode)
    key = os.environ["RAY_AUTH_TOKEN"]
    found = {"address": address, "listening": listening, "mode": mode, "key": key}
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    ray.shutdown()


if __name__ == "__main__":
    main()
