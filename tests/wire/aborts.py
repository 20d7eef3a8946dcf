"""Scenarios with two live ends: aborts at every stage, half-closes, tunnels, streams, back-pressure. Each raises Failed with what went wrong."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import time
from collections.abc import Awaitable, Callable

from tests.wire.model import Verdict, head
from tests.wire.origin import Origin, Wire, answer, connect
from tests.wire.peers import Peer, memory
from tests.wire.run import Reader
from tests.wire.run_response import fresh
from tests.wire.strict import Request

MIB = 1024 * 1024
UPGRADE = head("GET /ws HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"


class Failed(Exception):
    """The scenario's expectation does not hold."""


class Tolerable(Exception):
    """Not what we want, but no harm to anybody."""


Scenario = Callable[[Peer, Origin], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__.replace("_", " ")] = function
    return function


def expect(condition: object, text: str) -> None:
    if not condition:
        raise Failed(text)


async def within(seconds: float, condition: Callable[[], object], text: str, kind: type[Exception] = Failed) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise kind(text)
        await asyncio.sleep(0.005)


class Stage:
    """A raw script that hands its connection to the scenario, which plays the origin from outside."""

    def __init__(self, origin: Origin, path: bytes) -> None:
        self.arrived: asyncio.Queue[Wire] = asyncio.Queue()
        self.release = asyncio.Event()
        origin.raw_scripts = {path: self.hold}

    async def hold(self, wire: Wire) -> bool:
        await self.arrived.put(wire)
        await self.release.wait()
        return False

    async def wire(self, timeout: float = 3) -> Wire:
        try:
            return await asyncio.wait_for(self.arrived.get(), timeout)
        except TimeoutError:
            raise Failed("the origin was not reached") from None


async def ended(wire: Wire, seconds: float, text: str, kind: type[Exception] = Failed) -> bytes:
    """The peer ends the connection within `seconds`; returns what it sent before."""
    try:
        return await wire.rest(seconds)
    except TimeoutError:
        raise kind(text) from None


async def one_answer(wire: Wire, status: int | set[int], timeout: float = 3) -> Reader:
    reader = Reader(wire)
    await reader.finals_or_end(1, timeout)
    expect(reader.finals, "no answer")
    allowed = status if isinstance(status, set) else {status}
    expect(reader.finals[0].status in allowed, f"status {reader.finals[0].status}")
    return reader


# the client goes away


@scenario
async def client_closes_in_the_head(peer: Peer, origin: Origin) -> None:
    wire = await connect(peer.port)
    await wire.send(b"GET /x HTTP/1.1\r\nHost: a.te")
    await asyncio.sleep(0.05)
    wire.close()
    await asyncio.sleep(0.1)
    expect(not origin.seen, "the origin got a request")


@scenario
async def client_resets_in_the_head(peer: Peer, origin: Origin) -> None:
    wire = await connect(peer.port)
    await wire.send(b"GET /x HTTP/1.1\r\nHost: a.te")
    await asyncio.sleep(0.05)
    wire.reset()
    await asyncio.sleep(0.1)
    expect(not origin.seen, "the origin got a request")


async def upload_cut(peer: Peer, origin: Origin, send: bytes, reset: bool) -> None:
    wire = await connect(peer.port)
    await wire.send(send)
    await asyncio.sleep(0.1)
    wire.reset() if reset else wire.close()
    await within(2, lambda: not any(held.buffer for held in origin.wires), "the origin's connection stays open behind a cut body")
    expect(not origin.seen, "the origin took a cut request for a whole one")


@scenario
async def client_closes_in_a_body_of_known_length(peer: Peer, origin: Origin) -> None:
    await upload_cut(peer, origin, head("POST /x HTTP/1.1", "Content-Length: 100") + b"hello", False)


@scenario
async def client_resets_in_a_body_of_known_length(peer: Peer, origin: Origin) -> None:
    await upload_cut(peer, origin, head("POST /x HTTP/1.1", "Content-Length: 100") + b"hello", True)


@scenario
async def client_closes_in_a_chunked_body(peer: Peer, origin: Origin) -> None:
    await upload_cut(peer, origin, head("POST /x HTTP/1.1", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n", False)


@scenario
async def client_resets_in_a_chunk(peer: Peer, origin: Origin) -> None:
    await upload_cut(peer, origin, head("POST /x HTTP/1.1", "Transfer-Encoding: chunked") + b"50\r\nhello", True)


@scenario
async def client_closes_while_waiting(peer: Peer, origin: Origin) -> None:
    stage = Stage(origin, b"/wait")
    wire = await connect(peer.port)
    await wire.send(head("GET /wait HTTP/1.1"))
    far = await stage.wire()
    wire.close()
    await asyncio.sleep(0.05)  # a full close and a half-close look the same until something is written: both keep and close are right
    with contextlib.suppress(OSError):
        await far.send(answer(b"for nobody"))
    stage.release.set()


@scenario
async def client_resets_while_waiting(peer: Peer, origin: Origin) -> None:
    stage = Stage(origin, b"/wait")
    wire = await connect(peer.port)
    await wire.send(head("GET /wait HTTP/1.1"))
    far = await stage.wire()
    wire.reset()
    try:
        await ended(far, 1, "the origin goes on working for a client that left", Tolerable)
    finally:
        stage.release.set()


@scenario
async def client_resets_during_the_answer(peer: Peer, origin: Origin) -> None:
    stage = Stage(origin, b"/big")
    wire = await connect(peer.port, receive_buffer=8192)
    await wire.send(head("GET /big HTTP/1.1"))
    far = await stage.wire()
    try:
        await far.until(b"\r\n\r\n")
        await far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        await wire.until(b"\r\n\r\n")
        wire.reset()
        try:
            async with asyncio.timeout(3):
                for _ in range(1500):
                    await far.send(b"x" * 65536)
        except TimeoutError:
            raise Failed("the origin is neither read nor closed") from None
        except OSError:
            return
        raise Tolerable("the whole answer was read for nobody")
    finally:
        stage.release.set()


@scenario
async def client_closes_during_a_trickling_answer(peer: Peer, origin: Origin) -> None:
    stage = Stage(origin, b"/drip")
    wire = await connect(peer.port)
    await wire.send(head("GET /drip HTTP/1.1"))
    far = await stage.wire()
    try:
        await far.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await wire.until(b"\r\n\r\n")
        wire.close()
        with contextlib.suppress(OSError):
            for _ in range(100):
                await far.send(b"1\r\nx\r\n")
                await asyncio.sleep(0.02)
            raise Failed("the origin is read for 2 s for a client that left")
    finally:
        stage.release.set()


@scenario
async def client_leaves_between_pipelined_answers(peer: Peer, origin: Origin) -> None:
    wire = await connect(peer.port)
    await wire.send(b"".join(head(f"GET /{i} HTTP/1.1") for i in range(50)))
    await wire.until(b"\r\n\r\n")
    wire.reset()
    await asyncio.sleep(0.05)


@scenario
async def a_thousand_clients_leave_at_random_places(peer: Peer, origin: Origin) -> None:
    chance = random.Random(7)
    forms = [head("GET /x HTTP/1.1"), head("POST /x HTTP/1.1", "Content-Length: 5") + b"hello", head("POST /x HTTP/1.1", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n", head("GET /x HTTP/1.1") * 3]

    async def one() -> None:
        with contextlib.suppress(OSError, TimeoutError, EOFError):
            wire = await connect(peer.port)
            form = chance.choice(forms)
            await wire.send(form[: chance.randrange(len(form) + 1)])
            if chance.random() < 0.5:
                async with asyncio.timeout(chance.random() / 50):
                    await wire.read()
            chance.choice([wire.reset, wire.close])()

    for _ in range(20):
        await asyncio.gather(*(one() for _ in range(50)))
        problem = await fresh(peer)
        expect(not problem, problem)
    expect(not origin.faults, f"the origin received {origin.faults[:1]}")


# the origin goes away


@scenario
async def nobody_listens(peer: Peer, origin: Origin) -> None:
    wire = await connect(peer.port)
    start = time.monotonic()
    await wire.send(head("GET /dead HTTP/1.1"))
    await one_answer(wire, {502, 503, 504}, 5)
    if time.monotonic() - start > 1:
        raise Tolerable(f"{time.monotonic() - start:.1f} s until the error")


async def origin_fails(peer: Peer, origin: Origin, data: bytes, reset: bool, request: bytes = head("GET /fail HTTP/1.1"), cut: bool = False) -> int:
    hits = 0

    async def script(wire: Wire) -> bool:
        nonlocal hits
        hits += 1
        await wire.send(data)
        await asyncio.sleep(0.05)
        if reset:
            wire.reset()
        return False

    origin.raw_scripts = {b"/fail": script}
    wire = await connect(peer.port)
    await wire.send(request)
    reader = Reader(wire)
    await reader.finals_or_end(1, 3)
    if cut and reader.finals and reader.finals[0].status == 200:
        expect(not reader.finals[0].complete or reader.reset, "a cut answer looks whole")
    elif not (cut and reader.ended):
        expect(reader.finals, "no answer")
        expect(reader.finals[0].status == 502, f"status {reader.finals[0].status}")
    return hits


@scenario
async def origin_resets_before_the_head(peer: Peer, origin: Origin) -> None:
    await origin_fails(peer, origin, b"", True)


@scenario
async def origin_closes_before_the_head(peer: Peer, origin: Origin) -> None:
    await origin_fails(peer, origin, b"", False)


@scenario
async def origin_closes_before_the_head_of_a_post(peer: Peer, origin: Origin) -> None:
    hits = await origin_fails(peer, origin, b"", False, head("POST /fail HTTP/1.1", "Content-Length: 5") + b"hello")
    expect(hits == 1, f"the POST was sent {hits} times")


@scenario
async def origin_resets_in_the_head(peer: Peer, origin: Origin) -> None:
    await origin_fails(peer, origin, b"HTTP/1.1 200 OK\r\nConte", True)


@scenario
async def origin_resets_after_the_head(peer: Peer, origin: Origin) -> None:
    await origin_fails(peer, origin, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", True, cut=True)


@scenario
async def origin_resets_in_the_body(peer: Peer, origin: Origin) -> None:
    await origin_fails(peer, origin, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 500000, True, cut=True)


@scenario
async def origin_closes_in_a_chunk(peer: Peer, origin: Origin) -> None:
    await origin_fails(peer, origin, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\nhello", False, cut=True)


@scenario
async def origin_closes_between_chunks(peer: Peer, origin: Origin) -> None:
    await origin_fails(peer, origin, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", False, cut=True)


@scenario
async def origin_closes_during_the_upload(peer: Peer, origin: Origin) -> None:
    stage = Stage(origin, b"/large/up")
    wire = await connect(peer.port)
    await wire.send(head("POST /large/up HTTP/1.1", "Content-Length: 50000000"))
    sender = asyncio.ensure_future(pour(wire, 50_000_000))
    far = await stage.wire()
    far.reset()
    reader = Reader(wire)
    await reader.finals_or_end(1, 3)
    sender.cancel()
    expect(reader.finals or reader.ended, "no answer and no end")
    if not reader.finals:
        raise Tolerable("closed without an answer")
    expect(reader.finals[0].status == 502, f"status {reader.finals[0].status}")


@scenario
async def origin_answers_and_closes_during_the_upload(peer: Peer, origin: Origin) -> None:
    stage = Stage(origin, b"/large/up")
    wire = await connect(peer.port)
    await wire.send(head("POST /large/up HTTP/1.1", "Content-Length: 50000000"))
    sender = asyncio.ensure_future(pour(wire, 50_000_000, pause=0.001))
    far = await stage.wire()
    await far.send(answer(b"no", "403 Forbidden", "Connection: close"))
    far.end_writing()
    reader = Reader(wire)
    await reader.finals_or_end(1, 3)
    sender.cancel()
    stage.release.set()
    if not reader.finals and reader.ended:
        raise Tolerable("the answer was lost in a reset")
    expect(reader.finals and reader.finals[0].status == 403, "the early answer did not arrive")


@scenario
async def origin_closes_idle_connections(peer: Peer, origin: Origin) -> None:
    for _ in range(20):
        problem = await fresh(peer)
        expect(not problem, problem)
        origin.hang_up()


async def dying_reuse(peer: Peer, origin: Origin, request: bytes, reset: bool) -> tuple[Reader, int]:
    """Warm a connection, then let the origin end it on sight of the next request, unanswered."""
    hits = 0
    problem = await fresh(peer)
    expect(not problem, problem)
    warm = {held.number for held in origin.wires}

    async def script(wire: Wire) -> bool:
        nonlocal hits
        hits += 1
        if wire.number in warm:
            if reset:
                wire.reset()
            return False
        request = await wire.until(b"\r\n\r\n")
        if b"hello" not in wire.buffer and b"POST" in request:
            await wire.exactly(5)
        await wire.send(answer(b"again"))
        return False

    origin.raw_scripts = {b"/again": script}
    wire = await connect(peer.port)
    await wire.send(request)
    reader = Reader(wire)
    await reader.finals_or_end(1, 3)
    return reader, hits


@scenario
async def reused_connection_is_closed_and_a_get_repeated(peer: Peer, origin: Origin) -> None:
    reader, hits = await dying_reuse(peer, origin, head("GET /again HTTP/1.1"), False)
    expect(reader.finals and reader.finals[0].status == 200, f"the GET was not repeated ({hits} tries)")


@scenario
async def reused_connection_is_reset_and_a_get_repeated(peer: Peer, origin: Origin) -> None:
    reader, hits = await dying_reuse(peer, origin, head("GET /again HTTP/1.1"), True)
    expect(reader.finals and reader.finals[0].status == 200, f"the GET was not repeated ({hits} tries)")


@scenario
async def reused_connection_is_closed_and_a_post_not_repeated(peer: Peer, origin: Origin) -> None:
    reader, hits = await dying_reuse(peer, origin, head("POST /again HTTP/1.1", "Content-Length: 5") + b"hello", False)
    expect(hits == 1, f"the POST was sent {hits} times")
    expect(reader.finals and reader.finals[0].status in (200, 502), "no answer")


@scenario
async def reused_connection_is_closed_in_the_head_and_nothing_repeated(peer: Peer, origin: Origin) -> None:
    hits = await origin_fails(peer, origin, b"HTTP/1.1 2", False)
    expect(hits == 1, f"the request was sent {hits} times although an answer had begun")


@scenario
async def origin_is_silent(peer: Peer, origin: Origin) -> None:
    stage = Stage(origin, b"/silent")
    wire = await connect(peer.port)
    start = time.monotonic()
    await wire.send(head("GET /silent HTTP/1.1"))
    far = await stage.wire()
    await one_answer(wire, 504, peer.job.answer_timeout * 4 + 1)
    expect(time.monotonic() - start < peer.job.answer_timeout * 3.5, f"{time.monotonic() - start:.1f} s until the 504")
    await ended(far, 1, "the connection to the silent origin stays open")
    stage.release.set()


# half-closes


@scenario
async def client_ends_its_side_and_gets_the_answer(peer: Peer, origin: Origin) -> None:
    async def script(wire: Wire, _: Request) -> bool:
        await asyncio.sleep(0.3)
        await wire.send(answer(b"late"))
        return True

    origin.scripts = {"/late": script}
    wire = await connect(peer.port)
    await wire.send(head("GET /late HTTP/1.1"))
    wire.end_writing()
    reader = await one_answer(wire, 200)
    expect(reader.finals[0].body == b"late", "another answer")
    expect(await reader.end(), "the connection stays open")


@scenario
async def client_ends_its_side_behind_a_body_and_gets_the_answer(peer: Peer, origin: Origin) -> None:
    async def script(wire: Wire, request: Request) -> bool:
        await asyncio.sleep(0.3)
        await wire.send(answer(request.body))
        return True

    origin.scripts = {"/late": script}
    wire = await connect(peer.port)
    await wire.send(head("POST /late HTTP/1.1", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n")
    wire.end_writing()
    reader = await one_answer(wire, 200)
    expect(reader.finals[0].body == b"hello", "another answer")


async def tunnel(peer: Peer, origin: Origin) -> tuple[Wire, Wire, Stage]:
    stage = Stage(origin, b"/ws")
    wire = await connect(peer.port)
    await wire.send(UPGRADE)
    far = await stage.wire()
    await far.until(b"\r\n\r\n")
    await far.send(SWITCH)
    switched = await wire.until(b"\r\n\r\n")
    expect(switched.startswith(b"HTTP/1.1 101 "), f"{switched[:60]!r} instead of 101")
    return wire, far, stage


@scenario
async def client_ends_its_side_of_a_tunnel(peer: Peer, origin: Origin) -> None:
    wire, far, stage = await tunnel(peer, origin)
    try:
        await wire.send(b"bye")
        wire.end_writing()
        expect(await ended(far, 2, "the end does not reach the origin") == b"bye", "bytes lost")
        await far.send(b"last words")
        far.close()
        expect(await ended(wire, 2, "the end does not reach the client") == b"last words", "bytes towards a half-closed client are lost")
    finally:
        stage.release.set()


@scenario
async def origin_ends_its_side_of_a_tunnel(peer: Peer, origin: Origin) -> None:
    wire, far, stage = await tunnel(peer, origin)
    try:
        await far.send(b"bye")
        far.end_writing()
        expect(await ended(wire, 2, "the end does not reach the client") == b"bye", "bytes lost")
        await wire.send(b"last words")
        wire.close()
        expect(await ended(far, 2, "the end does not reach the origin") == b"last words", "bytes towards a half-closed origin are lost")
    finally:
        stage.release.set()


@scenario
async def client_resets_a_tunnel(peer: Peer, origin: Origin) -> None:
    wire, far, stage = await tunnel(peer, origin)
    wire.reset()
    await ended(far, 2, "the origin's side stays open")
    stage.release.set()


@scenario
async def origin_resets_a_tunnel(peer: Peer, origin: Origin) -> None:
    wire, far, stage = await tunnel(peer, origin)
    far.reset()
    await ended(wire, 2, "the client's side stays open")
    stage.release.set()


# tunnels and streams


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


async def pour(wire: Wire, count: int, pause: float = 0) -> None:
    block = b"x" * 65536
    with contextlib.suppress(OSError):
        while count > 0:
            await wire.send(block[:count])
            count -= len(block)
            await asyncio.sleep(pause)


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


async def run_scenario(name: str, peer: Peer, origin: Origin) -> Verdict:
    origin.forget()
    try:
        async with asyncio.timeout(60):
            await SCENARIOS[name](peer, origin)
        origin.scripts, origin.raw_scripts = {}, {}
        problem = await fresh(peer) or await fresh(peer)
        return Verdict("wrong", problem) if problem else Verdict("ok")
    except Tolerable as finding:
        return Verdict("lax", str(finding))
    except Failed as failure:
        return Verdict("wrong", str(failure))
    except (TimeoutError, EOFError, OSError) as failure:
        return Verdict("wrong", f"{type(failure).__name__} {str(failure)[:80]}")
    finally:
        origin.scripts, origin.raw_scripts = {}, {}
        origin.hang_up()
        await asyncio.sleep(0.02)
