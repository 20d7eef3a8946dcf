"""Scenarios: tunnels, streams, large bodies and back-pressure."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import time

from tests.wire.model import head
from tests.wire.origin import Origin, Wire, answer, connect
from tests.wire.peers import Peer, memory
from tests.wire.run import Reader
from tests.wire.scenario import SWITCH, UPGRADE, Failed, Stage, expect, one_answer, scenario, tunnel
from tests.wire.strict import Request

MIB = 1024 * 1024


@scenario
async def tunnel_carries_a_megabyte_each_way(peer: Peer, origin: Origin) -> None:
    wire, far, stage = await tunnel(peer, origin)
    up, down = random.Random(1).randbytes(MIB), random.Random(2).randbytes(MIB)
    try:
        results = await asyncio.gather(wire.send(up), far.send(down), far.exactly(MIB), wire.exactly(MIB))
        expect(results[2] == up and results[3] == down, "bytes changed")
    finally:
        stage.release.set()


@scenario
async def tunnel_has_no_delay(peer: Peer, origin: Origin) -> None:
    wire, far, stage = await tunnel(peer, origin)
    try:
        start = time.monotonic()
        for _ in range(100):
            await wire.send(b"ping")
            await far.exactly(4)
            await far.send(b"pong")
            await wire.exactly(4)
        expect(time.monotonic() - start < 2, f"{(time.monotonic() - start) * 10:.1f} ms for a round trip")
    finally:
        stage.release.set()


@scenario
async def bytes_behind_the_upgrade_wait_for_the_101(peer: Peer, origin: Origin) -> None:
    stage = Stage(origin, b"/ws")
    wire = await connect(peer.port)
    await wire.send(UPGRADE + b"early bird")
    far = await stage.wire()
    try:
        await far.until(b"\r\n\r\n")
        await asyncio.sleep(0.1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await far.fill()
        expect(not far.buffer, f"the origin got {far.buffer[:20]!r} ahead of its 101")
        await far.send(SWITCH + b"hello")
        expect((await wire.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101"), "no 101")
        expect(await wire.exactly(5) == b"hello", "bytes behind the 101 are lost")
        expect(await far.exactly(10, 1) == b"early bird", "bytes behind the upgrade are lost")
    except TimeoutError:
        raise Failed("bytes behind the upgrade are lost") from None
    finally:
        stage.release.set()


@scenario
async def declined_upgrade_opens_no_tunnel(peer: Peer, origin: Origin) -> None:
    async def script(wire: Wire, _: Request) -> bool:
        await wire.send(answer(b"no", "403 Forbidden"))
        return True

    origin.scripts = {"/ws": script}
    wire = await connect(peer.port)
    await wire.send(UPGRADE)
    await one_answer(wire, 403)
    with contextlib.suppress(OSError):
        await wire.send(b"GET /admin/secret HTTP/1.1\r\nHost: a.test\r\n\r\n")
    reader = Reader(wire)
    await reader.finals_or_end(1, 1)
    expect(not any(request.target.startswith("/admin") for request in origin.seen), "a tunnel opened without a 101")
    expect(reader.ended or (reader.finals and reader.finals[0].status == 403), "neither an answer nor an end")


@scenario
async def websocket_fields_reach_both_ends(peer: Peer, origin: Origin) -> None:
    stage = Stage(origin, b"/ws")
    wire = await connect(peer.port)
    await wire.send(UPGRADE)
    far = await stage.wire()
    try:
        request = (await far.until(b"\r\n\r\n")).lower()
        for line in (b"\r\nupgrade: websocket\r\n", b"\r\nsec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n", b"\r\nsec-websocket-version: 13\r\n"):
            expect(line in request, f"the origin misses {line.strip()!r}")
        expect(b"\r\nconnection:" in request and b"upgrade" in request.split(b"\r\nconnection:")[1].split(b"\r\n")[0], "the origin misses Connection: Upgrade")
        await far.send(SWITCH)
        reply = (await wire.until(b"\r\n\r\n")).lower()
        for line in (b"\r\nupgrade: websocket\r\n", b"\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"):
            expect(line in reply, f"the client misses {line.strip()!r}")
    finally:
        stage.release.set()


@scenario
async def events_arrive_without_delay(peer: Peer, origin: Origin) -> None:
    sent: list[float] = []

    async def script(wire: Wire, _: Request) -> bool:
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(20):
            await asyncio.sleep(0.02)
            event = b"data: %04d\n\n" % i
            sent.append(time.monotonic())
            await wire.send(b"%x\r\n%s\r\n" % (len(event), event))
        await wire.send(b"0\r\n\r\n")
        return True

    origin.scripts = {"/events": script}
    wire = await connect(peer.port)
    await wire.send(head("GET /events HTTP/1.1", "Accept: text/event-stream"))
    await wire.until(b"\r\n\r\n")
    late = 0.0
    for i in range(20):
        await wire.until(b"data: %04d\n\n" % i, 2)
        late = max(late, time.monotonic() - sent[i])
    expect(late < 0.05, f"an event came {late * 1000:.0f} ms late")


@scenario
async def request_body_is_streamed(peer: Peer, origin: Origin) -> None:
    stage = Stage(origin, b"/large/up")
    wire = await connect(peer.port)
    await wire.send(head("POST /large/up HTTP/1.1", "Transfer-Encoding: chunked"))
    far = await stage.wire()
    try:
        for i in range(10):
            await wire.send(b"5\r\npart%d\r\n" % i)
            await far.until(b"part%d" % i, 1)
        await wire.send(b"0\r\n\r\n")
        await far.until(b"0\r\n\r\n", 1)
        await far.send(answer(b"done"))
        await one_answer(wire, 200)
    except TimeoutError:
        raise Failed("a part of the body does not arrive while the next is not sent") from None
    finally:
        stage.release.set()


@scenario
async def continue_comes_from_the_far_end_or_here_and_the_body_follows(peer: Peer, origin: Origin) -> None:
    stage = Stage(origin, b"/large/up")
    wire = await connect(peer.port)
    await wire.send(head("POST /large/up HTTP/1.1", "Expect: 100-continue", "Content-Length: 5"))
    far = await stage.wire()
    try:
        request = await far.until(b"\r\n\r\n")
        if b"100-continue" in request.lower():
            await far.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        reply = await wire.until(b"\r\n\r\n")
        expect(reply.startswith(b"HTTP/1.1 100"), f"{reply[:40]!r} instead of 100")
        await wire.send(b"hello")
        expect(await far.exactly(5) == b"hello", "another body")
        await far.send(answer(b"done"))
        await one_answer(wire, 200)
    finally:
        stage.release.set()


LARGE = 50 * MIB


def blocks(total: int) -> list[bytes]:
    chance = random.Random(3)
    whole = [chance.randbytes(64 * 1024) for _ in range(16)]
    return [whole[i % 16] for i in range(total // (64 * 1024))]


async def digest_of(wire: Wire, count: int) -> str:
    found = hashlib.sha256(wire.buffer[:count])
    count -= len(wire.buffer)
    wire.buffer = b""
    async with asyncio.timeout(30):
        while count > 0:
            data = await wire.read(min(count, 1 << 18))
            if not data:
                raise Failed(f"the stream ends {count} bytes early")
            found.update(data)
            count -= len(data)
    return found.hexdigest()


def digest(parts: list[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


@scenario
async def fifty_megabytes_down(peer: Peer, origin: Origin) -> None:
    parts = blocks(LARGE)

    async def script(wire: Wire, _: Request) -> bool:
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
        for part in parts:
            await wire.send(part)
        return True

    origin.scripts = {"/down": script}
    wire = await connect(peer.port)
    await wire.send(head("GET /down HTTP/1.1"))
    await wire.until(b"\r\n\r\n")
    expect(await digest_of(wire, LARGE) == digest(parts), "bytes changed")


@scenario
async def fifty_megabytes_up(peer: Peer, origin: Origin) -> None:
    parts = blocks(LARGE)
    stage = Stage(origin, b"/large/up")
    wire = await connect(peer.port)
    await wire.send(head("POST /large/up HTTP/1.1", f"Content-Length: {LARGE}"))
    far = await stage.wire()
    try:
        await far.until(b"\r\n\r\n")

        async def send() -> None:
            for part in parts:
                await wire.send(part)

        _, found = await asyncio.gather(send(), digest_of(far, LARGE))
        expect(found == digest(parts), "bytes changed")
        await far.send(answer(b"done"))
        await one_answer(wire, 200)
    finally:
        stage.release.set()


@scenario
async def chunked_upload_of_ten_megabytes(peer: Peer, origin: Origin) -> None:
    parts = blocks(10 * MIB)
    stage = Stage(origin, b"/large/up")
    wire = await connect(peer.port)
    await wire.send(head("POST /large/up HTTP/1.1", "Transfer-Encoding: chunked"))
    far = await stage.wire()
    found = hashlib.sha256()
    try:
        expect(b"\r\ntransfer-encoding: chunked\r\n" in (await far.until(b"\r\n\r\n")).lower(), "not chunked towards the origin")

        async def send() -> None:
            for part in parts:
                await wire.send(b"%x\r\n%s\r\n" % (len(part), part))
            await wire.send(b"0\r\n\r\n")

        async def receive() -> None:
            while size := int((await far.until(b"\r\n")).strip().split(b";")[0], 16):
                found.update(await far.exactly(size))
                expect(await far.exactly(2) == b"\r\n", "no CR LF behind a chunk")
            expect(await far.exactly(2) == b"\r\n", "no CR LF behind the last chunk")

        await asyncio.gather(send(), receive())
        expect(found.hexdigest() == digest(parts), "bytes changed")
        await far.send(answer(b"done"))
        await one_answer(wire, 200)
    finally:
        stage.release.set()


async def push(wire: Wire, seconds: float) -> int:
    """Send as much as the other side takes within `seconds`; returns the bytes."""
    block, count = b"x" * 65536, 0
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(seconds):
            while True:
                await wire.loop.sock_sendall(wire.sock, block)
                count += len(block)
    return count


BOUND = 24 * MIB  # kernel buffers of four sockets, which grow to 4-6 MiB each, and the proxy's own
GROWTH = 8 * MIB


@scenario
async def slow_reader_stops_the_origin(peer: Peer, origin: Origin) -> None:
    stage = Stage(origin, b"/big")
    before = memory(peer.pids())
    wire = await connect(peer.port, receive_buffer=8192)
    await wire.send(head("GET /big HTTP/1.1"))
    far = await stage.wire()
    try:
        await far.until(b"\r\n\r\n")
        await far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        sent = await push(far, 1.5)
        grown = memory(peer.pids()) - before
        expect(sent < BOUND, f"{sent >> 20} MiB went to a client that does not read")
        expect(grown < GROWTH, f"memory grew by {grown >> 20} MiB")
    finally:
        wire.close()
        stage.release.set()


@scenario
async def slow_origin_stops_the_client(peer: Peer, origin: Origin) -> None:
    stage = Stage(origin, b"/large/up")
    before = memory(peer.pids())
    wire = await connect(peer.port)
    await wire.send(head("POST /large/up HTTP/1.1", "Content-Length: 1000000000"))
    await stage.wire()
    try:
        sent = await push(wire, 1.5)
        grown = memory(peer.pids()) - before
        expect(sent < BOUND, f"{sent >> 20} MiB were taken for an origin that does not read")
        expect(grown < GROWTH, f"memory grew by {grown >> 20} MiB")
    finally:
        wire.close()
        stage.release.set()


@scenario
async def slow_reader_of_a_tunnel_stops_the_origin(peer: Peer, origin: Origin) -> None:
    before = memory(peer.pids())
    wire, far, stage = await tunnel(peer, origin)
    try:
        sent = await push(far, 1.5)
        grown = memory(peer.pids()) - before
        expect(sent < BOUND, f"{sent >> 20} MiB went to a client that does not read")
        expect(grown < GROWTH, f"memory grew by {grown >> 20} MiB")
    finally:
        wire.close()
        stage.release.set()


@scenario
async def pipelining_without_reading_is_bounded(peer: Peer, origin: Origin) -> None:
    before = memory(peer.pids())
    wire = await connect(peer.port, receive_buffer=8192)
    request, sent = head("GET /x HTTP/1.1") * 1000, 0
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(1.5):
            while True:
                await wire.send(request)
                sent += len(request)
    grown = memory(peer.pids()) - before
    wire.close()
    expect(grown < GROWTH, f"memory grew by {grown >> 20} MiB")
