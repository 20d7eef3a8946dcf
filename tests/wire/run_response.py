"""Drives one response case: the origin plays the script, the client reads strictly, and fresh exchanges show whether anything was poisoned."""

from __future__ import annotations

import asyncio
import contextlib
import random

from tests.wire.model import Got, ResponseCase, Verdict
from tests.wire.origin import Origin, Wire, connect
from tests.wire.peers import Peer
from tests.wire.run import PATIENCE, Reader
from tests.wire.strict import Request, Response

MODES = ("whole", "bytes")
STEPS = 1500


async def play(wire: Wire, case: ResponseCase, mode: str, settled: asyncio.Event) -> bool:
    answer = case.answer
    if mode == "whole":
        await wire.send(answer)
    else:
        await wire.trickle(answer, max(1, len(answer) // STEPS))
    if case.late:
        await settled.wait()
        await wire.send(case.late)
    if case.then == "reset":
        await asyncio.sleep(0.02)
        wire.reset()
    return case.then == "keep"


def install(case: ResponseCase, origin: Origin, mode: str, settled: asyncio.Event) -> None:
    async def script(wire: Wire, _: Request) -> bool:
        return await play(wire, case, mode, settled)

    async def early(wire: Wire) -> bool:
        origin.seen.append(Request("1.1", [], method="POST", target="/r"))
        head = await wire.until(b"\r\n\r\n")
        goes_on = await play(wire, case, mode, settled)
        if goes_on:
            await wire.exactly(int(head.lower().split(b"content-length: ")[1].split(b"\r")[0]))
        return goes_on

    origin.forget()
    origin.greeting = case.greeting
    origin.scripts, origin.raw_scripts = ({}, {b"/r": early}) if case.early else ({"/r": script}, {})


async def fresh(peer: Peer) -> str:
    """A request on a new connection; what was wrong with its answer."""
    mark = f"/fresh-{random.getrandbits(48):x}"
    wire = await connect(peer.port)
    try:
        reader = Reader(wire)
        await wire.send(f"GET {mark} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n".encode())
        await reader.finals_or_end(1)
        if not reader.finals or reader.finals[0].status != 200:
            return f"the next request got {[(final.status, final.body[:40]) for final in reader.finals]}"
        return "" if reader.finals[0].body == f"GET {mark}".encode() else f"the next request got the answer {reader.finals[0].body[:40]!r}"
    finally:
        wire.close()


def mismatch(want: Got, got: Response | None, reader: Reader, closed: bool) -> str:
    if got is None:
        return "" if want.cut and closed else "no answer"
    if got.status not in want.statuses:
        return f"status {got.status}"
    visible = not got.complete or reader.reset
    if want.cut != visible:
        return "the cut is invisible" if want.cut else "the answer is cut"
    if want.body is not None and got.body != want.body:
        return f"body {got.body[:60]!r}"
    head = got.raw.split(b"\r\n\r\n")[0]
    for name, value in want.has:
        if not got.all(name) or (value is not None and value.encode("latin-1") not in got.all(name)):
            return f"{name}: {got.all(name)!r}"
    for name in want.lacks:
        if got.all(name):
            return f"{name}: {got.all(name)!r}"
    if want.never and want.never in head:
        return f"{want.never!r} in the head"
    if want.close is not None and want.close != closed:
        return "the connection stays open" if want.close else "the connection is closed"
    if want.interims is not None and [interim.status for interim in reader.interims] != list(want.interims):
        return f"interim answers {[interim.status for interim in reader.interims]}"
    return ""


async def run_response(case: ResponseCase, peer: Peer, origin: Origin, mode: str = "whole") -> Verdict:
    settled = asyncio.Event()
    install(case, origin, mode, settled)
    wire = await connect(peer.port)
    reader = Reader(wire, (0,) if case.request.startswith(b"HEAD") else ())
    sending = asyncio.ensure_future(quiet_send(wire, case.request))
    try:
        await reader.finals_or_end(1, PATIENCE * 2)
        last = reader.finals[0] if reader.finals else None
        closed = reader.ended or (bool(last and last.closes) and await reader.end())
        posts = [request for request in origin.seen if request.method == "POST"]
        settled.set()
        if case.late:
            await asyncio.sleep(0.03)
        extra = len(reader.finals) > 1 or (bool(wire.buffer) and not reader.fault and last is not None and last.complete)
        poisoned = ""
        for _ in range(3):
            poisoned = poisoned or await fresh(peer)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        wire.close()
        origin.scripts, origin.raw_scripts, origin.greeting = {}, {}, b""
        origin.hang_up()
    if poisoned:
        return Verdict("desync" if "answer" in poisoned else "wrong", poisoned)
    if extra:
        return Verdict("desync", f"bytes behind the answer: {wire.buffer[:60]!r}")
    if len(posts) > 1:
        return Verdict("wrong", f"a POST was sent {len(posts)} times")
    if reader.fault:
        return Verdict("wrong", f"client received {reader.fault}")
    return grade(case, last, reader, closed)


def grade(case: ResponseCase, last: Response | None, reader: Reader, closed: bool) -> Verdict:
    reasons = [mismatch(want, last, reader, closed) for want in case.ok]
    if "" in reasons:
        return Verdict("ok")
    tolerated = any(not mismatch(want, last, reader, closed) for want in case.lax) or (last is None and closed and not case.valid)
    detail = f"{reasons[0]}: client got {last.status if last else 'nothing'} {last.body[:40] if last else ''!r}{'' if not last or last.complete else ' cut'}{' and the end' if closed else ''}"
    return Verdict("lax" if tolerated else "wrong", detail)


async def quiet_send(wire: Wire, data: bytes) -> None:
    with contextlib.suppress(OSError):
        await wire.send(data)
