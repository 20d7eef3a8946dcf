"""What both wire fuzzers share: mutations, a live gw with one worker, and the record of a finding."""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.wire.origin import Origin
from tests.wire.peers import PEERS, Job, Peer
from tests.wire.run_response import fresh

HANG = 5.0  # seconds an input may take
CHECK_EVERY = 20  # inputs between two looks at the worker and a clean request
PIECES = [
    *rb": ; , = ' 0 1 5 9 f g -1 +5 0x5 % %00 %2f .. // ? # * @ [ ] \\ chunked identity gzip close keep-alive upgrade websocket 100-continue trailers".split(b" "),
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\t", b"\x00", b" ", b"\x0b", b"\x0c", b"\x7f", b"\x80", b"\xff", b"\xc2\xa0",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding : chunked\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n",
    b"Content-Length: 18446744073709551621\r\n", b"Host: b.test\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b";a=b", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0",
    b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON",
]


def mutate(chance: random.Random, data: bytes, corpus: list[bytes], pieces: list[bytes] = PIECES) -> bytes:
    """One to six small changes; now and then a splice of two inputs."""
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4, 6))):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((1, 1, 2, 4, 16, 64)))
        kind = chance.randrange(9)
        if kind == 0 and data:
            data = data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        elif kind in (1, 2):
            data = data[:at] + chance.choice(pieces) + data[at:]
        elif kind == 3:
            data = data[:at] + data[end:]
        elif kind == 4:
            data = data[:end] + data[at:end] * chance.choice((1, 1, 2, 30)) + data[end:]
        elif kind == 5:
            data = data[:at] + chance.choice(pieces) + data[end:]
        elif kind == 6:
            other = chance.choice(corpus)
            data = data[:at] + other[chance.randrange(len(other) + 1) :]
        elif kind == 7:
            lines = data.split(b"\r\n")
            one, two = chance.randrange(len(lines)), chance.randrange(len(lines))
            lines[one], lines[two] = lines[two], lines[one]
            data = b"\r\n".join(lines)
        elif kind == 8:
            digits = [i for i, byte in enumerate(data) if 48 <= byte <= 57]
            if digits:
                place = chance.choice(digits)
                data = data[:place] + b"%d" % chance.randrange(20) + data[place + 1 :]
    return data


class Violation(Exception):
    """The invariant does not hold for this input."""


class Bench:
    """The gw under test, its origin, and the worker it must keep."""

    def __init__(self, peer: Peer, origin: Origin) -> None:
        self.peer = peer
        self.origin = origin
        self.workers = peer.worker_pids()

    async def alive(self) -> None:
        if self.peer.worker_pids() != self.workers or self.peer.process.poll() is not None:
            self.workers = self.peer.worker_pids()
            raise Violation(f"the worker died: {self.peer.tail()[-400:]}")
        problem = await fresh(self.peer)
        if problem:
            raise Violation(f"a clean request on a new connection fails: {problem}")


async def campaign(seconds: float, seed: int, folder: Path, play: Callable[[Bench, random.Random, list[bytes]], Awaitable[None]]) -> int:
    """Rounds until time is up; keeps each input that breaks the invariant. Returns how many did (at most ten)."""
    chance, count, found = random.Random(seed), 0, 0
    async with Origin() as origin:
        peer = PEERS["gw"](Job([origin.port], answer_timeout=0.3, idle_timeout=0.5, head_timeout=1.0))
        await asyncio.to_thread(peer.start)
        try:
            bench, end, recent = Bench(peer, origin), time.monotonic() + seconds, []
            while time.monotonic() < end and found < 10:
                current: list[bytes] = []
                try:
                    async with asyncio.timeout(HANG * 2):
                        await play(bench, chance, current)
                        count += 1
                        recent = [*recent, *current][-CHECK_EVERY:]
                        if count % CHECK_EVERY == 0:
                            await bench.alive()
                except (Violation, TimeoutError) as failure:
                    found += 1
                    keep(folder, seed, count, str(failure) or "hangs", current, recent)
        finally:
            peer.remove()
    print(f"{count} inputs, {found} findings, seed {seed}")
    return found


def keep(folder: Path, seed: int, count: int, reason: str, current: list[bytes], recent: list[bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, inputs in (("", current), ("-before", recent)):
        (folder / f"{seed}-{count}{name}.bin").write_bytes(b"\n=====\n".join(inputs))
    print(f"FINDING {seed}-{count}: {reason}\n  {current[-1][:500] if current else b''!r}")


def arguments(name: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz") / name, help="folder for inputs that break the invariant")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    return options
