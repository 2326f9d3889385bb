"""Ray that Galenic starts: what listens, and who gets in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).parents[1] / "ray_child.py"
CONNECT = """
import ray, sys
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
print("did", ray.get(ray.remote(lambda: 6 * 7).remote()))
"""
WAIT = 180.0
"""Seconds for one that may come in, on a busy machine."""
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}

pytestmark = pytest.mark.slow


@pytest.fixture(params=["study", "federated"])
def started(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    pytest.importorskip("ray", reason="needs the ray extra")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    environment = {**os.environ, "RAY_ADDRESS": "192.0.2.1:6379"}  # of others; not to be used
    with subprocess.Popen(
        [sys.executable, CHILD, request.param], text=True, env=environment, **pipes
    ) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line, "Ray did not start"
        yield json.loads(line)
        child.communicate(timeout=60)


def gets_in(address: str, home: Path, wait: float = WAIT, **environment: str) -> bool:
    """Whether another process of this machine, with Ray's settings of its own, runs a task."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    kept |= {"HOME": str(home), "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # stays on loopback
    try:
        done = subprocess.run(
            [sys.executable, "-c", CONNECT, address],
            capture_output=True,
            text=True,
            check=False,
            timeout=wait,
            env={**kept, **environment},
        )
    except subprocess.TimeoutExpired:  # Ray tries again and again
        return False
    return "did 42" in done.stdout


def test_only_loopback_is_listened_on_and_only_the_key_lets_in(
    started: dict[str, Any], tmp_path: Path
) -> None:
    assert len(started["listening"]) >= 3
    assert [one for one in started["listening"] if one[1] not in LOOPBACK] == []
    assert started["mode"] == 0o700
    address = started["address"]
    key = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": started["key"]}
    began = time.monotonic()
    assert gets_in(address, tmp_path, **key)  # so the others are refused for want of it
    wait = 10 + 2 * (time.monotonic() - began)  # both at once, and they try again and again
    others = {"RAY_AUTH_MODE": "disabled"}, key | {"RAY_AUTH_TOKEN": "0" * 64}
    with ThreadPoolExecutor() as both:
        found = both.map(lambda one: gets_in(address, tmp_path, wait, **one), others)
        assert list(found) == [False] * 2
