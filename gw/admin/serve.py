"""Answers on the admin address with uvicorn, inside the supervisor's loop."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from gw.admin.view import View

KEEP_ALIVE = 30  # seconds
CONCURRENCY = 128  # requests at once; more answer 503, so that a scraper gone wild cannot eat the supervisor
CLOSE_WITHIN = 1  # seconds for open answers when the address closes


async def serve(sock: socket.socket, view: View) -> None:
    """Answer on a listening socket until cancelled; closes it."""
    import uvicorn

    from gw.admin.api import application

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # signals belong to the supervisor

    config = uvicorn.Config(
        application(view),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        limit_concurrency=CONCURRENCY,
        timeout_graceful_shutdown=CLOSE_WITHIN,
    )
    server = Server(config)
    server.servers = []  # uvicorn sets it when it has started; we may be cancelled before
    try:
        await server.serve(sockets=[sock])
    finally:
        for each in server.servers:
            each.close()
        sock.close()
