"""Two small services to stand behind `gw demo`: JSON, a slow answer, server-sent events, a WebSocket.

Run as `python -m gw.cli.demo_services NAME DESCRIPTOR` by gw.cli.demo, which binds the socket and holds the other end of our
standard input: at its end this process goes too, however its parent died.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from litestar import Litestar, Request, WebSocket, get, post, websocket
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler, WebsocketRouteHandler
from litestar.params import Parameter
from litestar.response import ServerSentEvent, ServerSentEventMessage

USERS = [{"id": 1, "name": "Ada"}, {"id": 2, "name": "Grace"}, {"id": 3, "name": "Barbara"}]
ORDERS = [{"id": 1, "user": 2, "item": "compiler"}, {"id": 2, "user": 1, "item": "engine"}]
SLOWEST = 30.0  # seconds


def _one(items: list[dict[str, Any]], number: int) -> dict[str, Any]:
    for item in items:
        if item["id"] == number:
            return item
    raise NotFoundException(f"there is no number {number}")


@get("/users")
async def list_users() -> list[dict[str, Any]]:
    return USERS


@get("/users/{number:int}")
async def one_user(number: int) -> dict[str, Any]:
    return _one(USERS, number)


@post("/users")
async def add_user(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Says what arrived, so that one sees what the gateway adds to a request."""
    return {"received": (await request.body()).decode(errors="replace"), "headers": dict(request.headers)}


@get("/users/slow")
async def slow(seconds: float = Parameter(default=1.0, ge=0, le=SLOWEST)) -> dict[str, float]:
    await asyncio.sleep(seconds)
    return {"slept": seconds}


@get("/users/events")
async def events(count: int = 5) -> ServerSentEvent:
    async def stream() -> AsyncIterator[ServerSentEventMessage]:
        for number in range(1, count + 1):
            yield ServerSentEventMessage(data=f"event {number} of {count}", id=str(number))
            await asyncio.sleep(0.5)

    return ServerSentEvent(stream())


@websocket("/users/echo")
async def echo(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    async for message in socket.iter_data("text"):
        await socket.send_text(f"echo: {message}")


@get("/orders")
async def list_orders() -> list[dict[str, Any]]:
    return ORDERS


@get("/orders/{number:int}")
async def one_order(number: int) -> dict[str, Any]:
    return _one(ORDERS, number)


SERVICES: dict[str, list[HTTPRouteHandler | WebsocketRouteHandler]] = {
    "users": [list_users, one_user, add_user, slow, events, echo],
    "orders": [list_orders, one_order],
}


async def serve(name: str, sock: socket.socket) -> None:
    """Serve until standard input ends."""
    app = Litestar(SERVICES[name], openapi_config=None)
    server = uvicorn.Server(uvicorn.Config(app, ws="wsproto", log_level="warning", lifespan="off", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve([sock]))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.should_exit = server.force_exit = True  # whoever waits for an answer of ours has gone
    await task


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2]))))
