"""Answers that gw makes itself: their status, their form, and that time-outs make them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

import pytest

from tests.wire.model import head
from tests.wire.origin import Wire, connect
from tests.wire.peers import Gw, Job, Peer
from tests.wire.run import Reader
from tests.wire.scenario import UPGRADE, Stage
from tests.wire.strict import Response

SHORT = 1.0  # seconds, every time-out of the impatient gw
LATE = 1.5  # seconds a time-out may come late
MADE = {
    "no Host": (head("GET / HTTP/1.1", host=None), 400),
    "method CONNECT": (head("CONNECT a.test:443 HTTP/1.1", host="a.test:443"), 405),
    "body too large": (head("POST /small HTTP/1.1", "Content-Length: 5000"), 413),
    "target too long": (head("GET /" + "a" * 9000 + " HTTP/1.1"), 414),
    "too many fields": (head("GET / HTTP/1.1", *(f"X-{i}: 1" for i in range(200))), 431),
    "nobody listens": (head("GET /dead HTTP/1.1"), 502),
    "version 2.0": (head("GET / HTTP/2.0"), 505),
}


async def ask(port: int, data: bytes) -> Response:
    wire = await connect(port)
    try:
        await wire.send(data)
        reader = Reader(wire)
        await reader.finals_or_end(1)
        assert reader.finals, reader.fault
        return reader.finals[0]
    finally:
        wire.close()


@pytest.mark.parametrize("name", MADE)
def test_made_answer(bench, name: str) -> None:
    data, status = MADE[name]
    answer = bench.run(ask(bench.peer.port, data))
    assert answer.status == status
    assert answer.first("content-type") == b"application/problem+json"
    problem = json.loads(answer.body)
    assert problem["status"] == status
    assert problem["type"]
    assert problem["title"]
    assert b"Traceback" not in answer.body
    assert answer.first("proxy-status")


def test_405_names_what_is_allowed(bench) -> None:
    assert bench.run(ask(bench.peer.port, MADE["method CONNECT"][0])).all("allow")


@pytest.fixture(scope="module")
def impatient(bench) -> Iterator[Peer]:
    """A gw in front of the same origin whose every time-out is short."""
    extra = {"timeouts": {"connect": "1s", "answer": f"{SHORT}s", "idle": f"{SHORT}s", "tunnel": f"{SHORT}s"}}
    with Gw(Job([bench.origin.port], head_timeout=SHORT, idle_timeout=SHORT, answer_timeout=SHORT, keep_alive=SHORT, extra=extra)) as peer:
        yield peer


async def until_end(wire: Wire) -> tuple[float, Reader]:
    start, reader = time.monotonic(), Reader(wire)
    await reader.end(SHORT + LATE + 1)
    wire.close()
    assert reader.ended, "the connection stays open"
    return time.monotonic() - start, reader


def in_time(seconds: float) -> bool:
    return SHORT * 0.8 <= seconds <= SHORT + LATE


@pytest.mark.parametrize("start", [b"G", b"GET / HTTP/1.1\r\nHost: a.te", b"GET / HTTP/1.1\r\nHost: a.test\r\n", b"\r\n"])
def test_a_head_that_does_not_come_ends_the_connection(bench, impatient, start: bytes) -> None:
    async def scene() -> tuple[float, Reader]:
        wire = await connect(impatient.port)
        await wire.send(start)
        return await until_end(wire)

    took, reader = bench.run(scene())
    assert in_time(took)
    assert [answer.status for answer in reader.finals] in ([], [408])


@pytest.mark.parametrize("start", [b"HEAD / HTTP/1.1\r\nHost:", b"HEAD "])
def test_a_head_request_that_does_not_come_gets_no_body(bench, impatient, start: bytes) -> None:
    async def scene() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", impatient.port)
        writer.write(start)
        answer = await asyncio.wait_for(reader.read(-1), SHORT + LATE + 1)
        writer.close()
        return answer

    answer = bench.run(scene())
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert answer.index(b"\r\n\r\n") == len(answer) - 4


def test_a_trickling_head_does_not_extend_its_time(bench, impatient) -> None:
    async def scene() -> float:
        wire = await connect(impatient.port)
        dripping = asyncio.ensure_future(wire.trickle(b"GET / HTTP/1.1\r\nHost: a.test\r\nX: " + b"a" * 200, 1, 0.05))
        took, _ = await until_end(wire)
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        return took

    assert in_time(bench.run(scene()))


@pytest.mark.parametrize("start", [head("POST /x HTTP/1.1", "Content-Length: 10") + b"hello", head("POST /x HTTP/1.1", "Transfer-Encoding: chunked") + b"5\r\nhel"])
def test_a_body_that_stops_ends_the_connection(bench, impatient, start: bytes) -> None:
    async def scene() -> tuple[float, Reader]:
        bench.origin.forget()
        wire = await connect(impatient.port)
        await wire.send(start)
        return await until_end(wire)

    took, reader = bench.run(scene())
    assert in_time(took)
    assert [answer.status for answer in reader.finals] in ([], [408])
    assert not bench.origin.seen


def test_an_idle_connection_ends(bench, impatient) -> None:
    async def scene() -> tuple[float, Reader]:
        wire = await connect(impatient.port)
        await wire.send(head("GET /x HTTP/1.1"))
        return await until_end(wire)

    took, reader = bench.run(scene())
    assert in_time(took)
    assert [answer.status for answer in reader.finals] == [200]


def test_an_answer_that_stops_is_cut(bench, impatient) -> None:
    async def scene() -> tuple[float, Reader]:
        stage = Stage(bench.origin, b"/stops")
        try:
            wire = await connect(impatient.port)
            await wire.send(head("GET /stops HTTP/1.1"))
            far = await stage.wire()
            await far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            return await until_end(wire)
        finally:
            stage.release.set()
            bench.origin.raw_scripts = {}

    took, reader = bench.run(scene())
    assert in_time(took)
    assert not reader.finals[0].complete


def test_a_silent_tunnel_ends_and_a_busy_one_does_not(bench, impatient) -> None:
    async def scene() -> tuple[float, bytes]:
        stage = Stage(bench.origin, b"/ws")
        try:
            wire = await connect(impatient.port)
            await wire.send(UPGRADE)
            far = await stage.wire()
            await far.until(b"\r\n\r\n")
            await far.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            await wire.until(b"\r\n\r\n")
            for _ in range(8):
                await far.send(b".")
                await asyncio.sleep(SHORT / 4)
            start = time.monotonic()
            data = await wire.rest(SHORT + LATE + 1)
            wire.close()
            return time.monotonic() - start, data
        finally:
            stage.release.set()
            bench.origin.raw_scripts = {}

    took, data = bench.run(scene())
    assert data == b"." * 8
    assert took <= SHORT + LATE
