"""python -m tests.abuse.attacks NAME PORT SECONDS: one attack, in a process of its own; prints what it did and how long its connections were held, as JSON."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass

from tests.wire.model import head
from tests.wire.origin import Wire, connect
from tests.wire.scenario import UPGRADE


@dataclass
class Report:
    opened: int = 0
    sent: int = 0  # bytes
    ended: int = 0  # held connections the gateway ended
    longest: float = 0.0  # seconds the longest-lived of them was open
    left: int = 0  # still open at the end


Attack = Callable[["Attacker"], Awaitable[None]]
ATTACKS: dict[str, tuple[Attack, str]] = {}


def attack(holds: str = "") -> Callable[[Attack], Attack]:
    """`holds`: the time-out (`head` or `idle`) that must end the attack's connections."""

    def keep(function: Attack) -> Attack:
        ATTACKS[function.__name__] = (function, holds)
        return function

    return keep


class Attacker:
    def __init__(self, port: int, seconds: float) -> None:
        self.port = port
        self.end = time.monotonic() + seconds
        self.report = Report()

    @property
    def running(self) -> bool:
        return time.monotonic() < self.end

    async def open(self, **more) -> Wire:
        wire = await connect(self.port, **more)
        self.report.opened += 1
        return wire

    async def send(self, wire: Wire, data: bytes) -> None:
        await wire.send(data)
        self.report.sent += len(data)

    async def hold(self, first: bytes, drip: bytes = b"", pause: float = 0.5) -> None:
        """Open, send `first`, then `drip` now and then, until the gateway ends it or time is up."""
        start = time.monotonic()
        wire = await self.open()
        try:
            await self.send(wire, first)
            while self.running:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        while await wire.read():
                            pass
                        break
                if drip:
                    await self.send(wire, drip)
        except OSError:
            pass
        finally:
            wire.close()
        self.settle(start)

    def settle(self, start: float) -> None:
        if self.running:
            self.report.ended += 1
            self.report.longest = max(self.report.longest, time.monotonic() - start)
        else:
            self.report.left += 1

    async def many(self, count: int, one: Callable[[], Awaitable[None]]) -> None:
        await asyncio.gather(*(one() for _ in range(count)), return_exceptions=True)

    async def repeat(self, lanes: int, one: Callable[[], Awaitable[None]], pause: float = 0.0) -> None:
        """`lanes` workers that do `one` again and again."""

        async def lane() -> None:
            while self.running:
                with suppress(OSError, TimeoutError, EOFError):
                    await one()
                await asyncio.sleep(pause)

        await asyncio.gather(*(lane() for _ in range(lanes)))


@attack()
async def idle_connections(a: Attacker) -> None:
    await a.many(2000, lambda: a.hold(b""))


@attack("head")
async def slow_head(a: Attacker) -> None:
    await a.many(500, lambda: a.hold(b"GET / HTTP/1.1\r\nHost: a.test\r\nX: ", b"a"))


@attack("head")
async def head_held_open(a: Attacker) -> None:
    await a.many(500, lambda: a.hold(head("GET / HTTP/1.1", "X: " + "a" * 20000)[:-2]))


@attack("head")
async def one_byte(a: Attacker) -> None:
    await a.many(500, lambda: a.hold(b"G"))


@attack("head")
async def empty_lines(a: Attacker) -> None:
    await a.many(300, lambda: a.hold(b"\r\n", b"\r\n"))


@attack("idle")
async def stalled_body(a: Attacker) -> None:
    await a.many(300, lambda: a.hold(head("POST /x HTTP/1.1", "Content-Length: 10000") + b"a" * 100))


@attack()
async def slow_body(a: Attacker) -> None:
    await a.many(300, lambda: a.hold(head("POST /x HTTP/1.1", "Content-Length: 10000") + b"a", b"a"))


@attack("idle")
async def expect_and_wait(a: Attacker) -> None:
    await a.many(300, lambda: a.hold(head("POST /x HTTP/1.1", "Expect: 100-continue", "Content-Length: 10000")))


@attack("idle")
async def slow_read(a: Attacker) -> None:
    table = Table(a.port)

    async def one() -> None:
        await asyncio.sleep(random.random())
        start = time.monotonic()
        wire = await a.open(receive_buffer=4096)
        await a.send(wire, head("GET /big?n=5000000 HTTP/1.1"))
        await asyncio.sleep(0.2)
        gone = False
        while a.running and not gone:
            await asyncio.sleep(0.2)
            gone = not table.open(wire)
        wire.close()
        a.settle(start)

    await a.many(200, one)


class Table:
    """The gateway's ends of our connections as the kernel lists them: a reader that does not read never learns that it was closed."""

    def __init__(self, port: int) -> None:
        self.mark = f":{port:04X}"
        self.taken = 0.0
        self.established: set[int] = set()

    def open(self, wire: Wire) -> bool:
        if time.monotonic() > self.taken + 0.3:
            with open("/proc/net/tcp") as lines:
                rows = [line.split(None, 4)[1:4] for line in lines]
            self.established = {int(there[-4:], 16) for here, there, state in rows if here.endswith(self.mark) and state == "01"}
            self.taken = time.monotonic()
        return wire.sock.getsockname()[1] in self.established


@attack()
async def header_bomb(a: Attacker) -> None:
    bomb = head("GET / HTTP/1.1", *(f"X-{i}: {'a' * 300}" for i in range(5000)))

    async def one() -> None:
        wire = await a.open()
        try:
            await a.send(wire, bomb)
            await wire.rest(1)
        finally:
            wire.close()

    await a.repeat(10, one, 0.02)


@attack()
async def tiny_chunks(a: Attacker) -> None:
    block = b"1\r\nx\r\n" * 500

    async def one() -> None:
        wire = await a.open()
        try:
            await a.send(wire, head("POST /large HTTP/1.1", "Transfer-Encoding: chunked"))
            while a.running:
                await a.send(wire, block)
                await asyncio.sleep(0.02)
        finally:
            wire.close()

    await a.repeat(20, one, 0.1)


@attack()
async def extension_bomb(a: Attacker) -> None:
    block = (b"1;" + b"a" * 4000 + b"\r\nx\r\n") * 4

    async def one() -> None:
        wire = await a.open()
        try:
            await a.send(wire, head("POST /large HTTP/1.1", "Transfer-Encoding: chunked"))
            while a.running:
                await a.send(wire, block)
                await asyncio.sleep(0.01)
        finally:
            wire.close()

    await a.repeat(20, one, 0.1)


@attack()
async def pipelining(a: Attacker) -> None:
    block = head("GET /x HTTP/1.1") * 200

    async def one() -> None:
        wire = await a.open(receive_buffer=4096)
        try:
            async with asyncio.timeout(2):
                while a.running:
                    await a.send(wire, block)
                    await asyncio.sleep(0.01)
        finally:
            wire.close()

    await a.repeat(20, one)


@attack()
async def connects(a: Attacker) -> None:
    async def one() -> None:
        for _ in range(30):
            (await a.open()).reset()

    await a.repeat(10, one, 0.1)


@attack()
async def resets(a: Attacker) -> None:
    async def one() -> None:
        wire = await a.open()
        await a.send(wire, head("GET /slow?ms=200 HTTP/1.1"))
        wire.reset()

    await a.repeat(10, one, 0.02)


@attack()
async def garbage(a: Attacker) -> None:
    chance = random.Random(5)

    async def one() -> None:
        wire = await a.open()
        try:
            await a.send(wire, chance.randbytes(chance.randrange(1, 4000)))
            await wire.rest(0.2)
        finally:
            wire.close()

    await a.repeat(20, one, 0.02)


@attack()
async def refused_bodies(a: Attacker) -> None:
    async def one() -> None:
        wire = await a.open()
        try:
            await a.send(wire, head("POST /small HTTP/1.1", "Content-Length: 5000000"))
            for _ in range(50):
                await a.send(wire, b"x" * 100000)
        finally:
            wire.close()

    await a.repeat(10, one, 0.05)


@attack()
async def long_lines(a: Attacker) -> None:
    async def one() -> None:
        wire = await a.open()
        try:
            await a.send(wire, b"GET /" + b"a" * 1000000)
            await wire.rest(0.5)
        finally:
            wire.close()

    await a.repeat(10, one, 0.05)


@attack()
async def half_closed(a: Attacker) -> None:
    async def one() -> None:
        wire = await a.open()
        wire.end_writing()
        with suppress(TimeoutError):
            await wire.rest(1)
        wire.close()

    await a.repeat(50, one, 0.05)


@attack()
async def tunnels(a: Attacker) -> None:
    await a.many(300, lambda: a.hold(UPGRADE, b"x" * 100, 1.0))


async def main(name: str, port: str, seconds: str) -> None:
    attacker = Attacker(int(port), float(seconds))
    with suppress(TimeoutError):
        async with asyncio.timeout(float(seconds) + 5):
            await ATTACKS[name][0](attacker)
    print(json.dumps(asdict(attacker.report)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
