"""The listening socket, opened before the model is loaded, and the HTTP server."""

from __future__ import annotations

import errno
import socket

import uvicorn
from starlette.applications import Starlette

from galenic.errors import UserError
from galenic.serve.connections import BACKLOG, Limits, bounded_protocol
from galenic.serve.settings import ServeConfig

__all__ = ["run", "server_of", "take_address"]


def take_address(config: ServeConfig) -> socket.socket:
    """Open the listening socket; callers wait until `run` answers them.

    Raises:
        UserError: the port is in use, or the address does not belong to this machine.
    """
    name = f"{config.host}:{config.port}"
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except UnicodeError as error:  # of the codec for host names
        raise UserError(f"--host {config.host!r} is not a valid host name.") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = f"another program listens at {name}. Choose another --port, or end that program."
        elif error.errno in (errno.EACCES, errno.EPERM):
            why = f"this user may not listen at {name}. Choose a --port of 1024 or above."
        else:
            why = f"cannot listen at {name} ({error.strerror}). Give --host an address that this "
            why += "machine has, such as 127.0.0.1."
        raise UserError(why) from error


def run(app: Starlette, door: socket.socket, limits: Limits) -> None:
    """Serve until Ctrl-C or SIGTERM; requests in progress get five more seconds."""
    server_of(app, limits).run(sockets=[door])


def server_of(app: Starlette, limits: Limits) -> uvicorn.Server:
    """Build the uvicorn server with its own limits and those of `galenic.serve.connections`."""
    config = uvicorn.Config(
        app,
        http=bounded_protocol(limits),
        ws="none",
        loop="asyncio",
        access_log=False,  # paths and callers' addresses are private
        log_level="critical",  # errors are told by `Guard`, without what the caller wrote
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)
