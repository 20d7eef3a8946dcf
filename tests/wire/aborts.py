"""Scenarios: the client goes away, the origin goes away, and half-closes, at every stage."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time

from tests.wire.model import head
from tests.wire.origin import Origin, Wire, answer, connect
from tests.wire.peers import Peer
from tests.wire.run import Reader
from tests.wire.run_response import fresh
from tests.wire.scenario import Failed, Stage, Tolerable, ended, expect, one_answer, pour, scenario, tunnel, within
from tests.wire.strict import Request

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
