"""Start Ray privately: loopback only, token authentication, private folders, no telemetry.

By default Ray listens on every interface without authentication, and anyone who reaches its ports
can run commands as the user (https://docs.ray.io/en/latest/ray-security/index.html); it also
queries cloud providers' metadata servers, even with usage statistics off.
"""

from __future__ import annotations

import importlib
import os
import secrets
from typing import Any

from galenic.errors import UserError

__all__ = ["LOOPBACK", "lock_ray", "start_private_ray"]

LOOPBACK = "127.0.0.1"
SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Require a token; no usage statistics; a single machine, which keeps Ray on loopback (the
setting's name is Ray's); no hints about newer versions."""


def lock_ray() -> None:
    """Set the environment that Ray reads on import, with a new token, also for child processes."""
    os.environ.update(SETTINGS, RAY_AUTH_TOKEN=secrets.token_hex(32))
    os.environ.pop("RAY_AUTH_TOKEN_PATH", None)
    os.environ.pop("RAY_ADDRESS", None)  # it would join a cluster that the user has not named


def start_private_ray(folder: str, **settings: Any) -> None:
    """Start Ray on this machine; call `lock_ray` first.

    Args:
        folder: a folder of mode 0700 for Ray's sockets and logs.
        settings: further arguments of ``ray.init``.

    Raises:
        UserError: Ray listens beyond loopback; it is stopped again.
        Exception: whatever Ray raises when it cannot start.
    """
    import ray

    # if Ray was imported before `lock_ray`, by another part of this process
    constants: Any = importlib.import_module("ray._private.ray_constants")
    constants.ENABLE_RAY_CLUSTER = False
    node: Any = importlib.import_module("ray._private.node").Node
    serve_web, node.start_api_server = node.start_api_server, _no_web
    try:
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address=LOOPBACK,
            _temp_dir=f"{folder}/ray",  # Ray opens this folder to all users
            **settings,
        )
    finally:
        node.start_api_server = serve_web
    if ray.util.get_node_ip_address() != LOOPBACK:
        ray.shutdown()
        raise UserError(
            f"Ray {ray.__version__} listened beyond {LOOPBACK} and was stopped. Install the "
            "version that galenic[ray] names, or leave --engine out."
        )


def _no_web(node: Any, **settings: Any) -> None:
    """Replace Ray's dashboard process, which queries metadata servers even when disabled."""
