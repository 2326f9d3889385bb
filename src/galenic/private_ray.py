"""Ray on this machine alone: loopback, a key, private folders, nothing told to anybody.

Left to itself Ray listens on every interface without a key, and whoever reaches its ports may run
commands as the user (https://docs.ray.io/en/latest/ray-security/index.html); it also asks cloud
providers' metadata servers where it runs, usage statistics on or off.
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
"""A key is asked for; no statistics; one machine only, so that Ray keeps to loopback (the setting's
name is Ray's); no tip of a later version."""


def lock_ray() -> None:
    """Set, for this process and those it starts, what Ray reads as it is imported; a fresh key."""
    os.environ.update(SETTINGS, RAY_AUTH_TOKEN=secrets.token_hex(32))
    os.environ.pop("RAY_AUTH_TOKEN_PATH", None)
    os.environ.pop("RAY_ADDRESS", None)  # of a cluster that nobody named


def start_private_ray(folder: str, **settings: Any) -> None:
    """Start Ray here, after `lock_ray`.

    Args:
        folder: of mode 0700; below it lie Ray's sockets and logs.
        settings: more of ``ray.init``.

    Raises:
        UserError: Ray did not keep to loopback; it is stopped again.
        Exception: what Ray raises when it cannot start.
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
            _temp_dir=f"{folder}/ray",  # which Ray opens to everybody
            **settings,
        )
    finally:
        node.start_api_server = serve_web
    if ray.util.get_node_ip_address() != LOOPBACK:
        ray.shutdown()
        raise UserError(
            f"Ray {ray.__version__} did not keep to {LOOPBACK} and was stopped. Install the "
            "version that galenic[ray] names, or leave --engine out."
        )


def _no_web(node: Any, **settings: Any) -> None:
    """In place of Ray's web process, which asks metadata servers even without its dashboard."""
