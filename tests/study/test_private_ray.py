"""Ray that Galenic starts: what listens, and who gets in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).parents[1] / "ray_child.py"
CONNECT = """
import ray, sys
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
print("did", ray.get(ray.remote(lambda: 6 * 7).remote()))
"""
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


def connect(address: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-c", CONNECT, address],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**kept, **environment},
    )


def test_only_loopback_is_listened_on_and_only_the_key_lets_in(
    started: dict[str, Any], tmp_path: Path
) -> None:
    assert len(started["listening"]) >= 3
    assert [one for one in started["listening"] if one[1] not in LOOPBACK] == []
    assert started["mode"] == 0o700
    for attempt in (
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
    ):
        done = connect(started["address"], HOME=str(tmp_path), **attempt)
        assert done.returncode != 0
        assert "did" not in done.stdout
