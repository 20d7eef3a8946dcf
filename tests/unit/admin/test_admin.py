"""The operator's address over real HTTP: status codes, types, and an end that leaves nothing open."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gw.admin import serve


class View:
    """A supervisor in any state."""

    def __init__(self, *, alive: bool = True, unready: dict[str, Any] | None = None) -> None:
        self._alive = alive
        self._unready = unready

    def metrics(self) -> tuple[AsyncIterator[bytes], str]:
        async def pieces() -> AsyncIterator[bytes]:
            for piece in (b"gw_up ", b"1\n"):
                yield piece

        return pieces(), "text/plain; version=0.0.4; charset=utf-8"

    def alive(self) -> bool:
        return self._alive

    def unready(self) -> dict[str, Any] | None:
        return self._unready


async def ask(sock: socket.socket, request: bytes) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    writer.write(request)
    data = await reader.read()
    writer.close()
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}, body


def answer(view: View, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    async def main() -> tuple[int, dict[str, str], bytes]:
        sock = socket.create_server(("127.0.0.1", 0))
        task = asyncio.ensure_future(serve(sock, view))
        try:
            return await asyncio.wait_for(ask(sock, f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()), 10)
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert sock.fileno() == -1

    return asyncio.run(main())


def test_metrics_are_text() -> None:
    status, fields, body = answer(View(), "/metrics")
    assert (status, body) == (200, b"6\r\ngw_up \r\n2\r\n1\n\r\n0\r\n\r\n")
    assert fields["transfer-encoding"] == "chunked"
    assert fields["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "server" not in fields


@pytest.mark.parametrize(
    ("path", "view", "status", "body"),
    [
        ("/healthz", View(), 200, {"status": "ok"}),
        ("/healthz", View(alive=False), 503, {"status": "failed", "reason": "no worker lives"}),
        ("/readyz", View(), 200, {"status": "ready"}),
        ("/readyz", View(unready={"reason": "draining"}), 503, {"status": "unready", "reason": "draining"}),
    ],
)
def test_probes(path: str, view: View, status: int, body: dict[str, str]) -> None:
    code, fields, text = answer(view, path)
    assert (code, json.loads(text)) == (status, body)
    assert fields["content-type"] == "application/json"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("GET", "/schema", 404), ("POST", "/metrics", 405), ("DELETE", "/healthz", 405)])
def test_everything_else_is_refused_in_json(method: str, path: str, status: int) -> None:
    code, fields, text = answer(View(), path, method)
    assert code == status
    assert fields["content-type"] == "application/json"
    assert json.loads(text)["status_code"] == status
