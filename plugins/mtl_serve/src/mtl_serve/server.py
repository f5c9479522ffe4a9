"""The process that serves: a socket, uvicorn, and an orderly end."""

from __future__ import annotations

import logging
import socket
from contextlib import ExitStack
from pathlib import Path

import uvicorn

from mtl.errors import UsageError
from mtl_serve.application import make_application
from mtl_serve.limits import Limits
from mtl_serve.models import Models

logger = logging.getLogger("mtl")


def run_server(
    run: Path,
    *,
    host: str,
    port: int,
    task: str | None,
    limits: Limits,
    token: str | None,
    device: str = "auto",
) -> None:
    """Serve a run until SIGINT or SIGTERM; requests that were accepted are answered first.

    Raises `UsageError` if the address cannot be used, and what `load` raises.
    """
    listening = _listen(host, port)
    with listening:
        application = make_application(Models(run, task, limits, device), token=token)
        where = f"[{host}]" if ":" in host else host
        logger.warning("serving %s on http://%s:%d (Ctrl-C ends)", run, where, listening.getsockname()[1])
        if token is None and host not in ("127.0.0.1", "localhost", "::1"):
            logger.warning("%s is reachable from outside, and there is no token (MTL_SERVE_TOKEN)", host)
        config = uvicorn.Config(
            application,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=int(limits.seconds) + 1,
            h11_max_incomplete_event_size=64_000,
        )
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    with ExitStack() as opened:
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            listening = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            listening.listen()  # now, as the address is told before the server runs
        except OSError as error:
            raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
        opened.pop_all()
        return listening
