"""What the scenarios with two live ends are made of; `run_scenario` judges one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from tests.wire.model import Verdict, head
from tests.wire.origin import Origin, Wire, connect
from tests.wire.peers import Peer
from tests.wire.run import Reader
from tests.wire.run_response import fresh

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


async def pour(wire: Wire, count: int, pause: float = 0) -> None:
    block = b"x" * 65536
    with contextlib.suppress(OSError):
        while count > 0:
            await wire.send(block[:count])
            count -= len(block)
            await asyncio.sleep(pause)


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
