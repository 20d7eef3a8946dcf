# Invariant: whatever bytes an origin sends, cut in whatever pieces, the worker lives, the client gets an answer or an end within 5 s, what it reads is well formed,
# is never a whole answer where the origin's was cut or of doubtful borders, holds the origin's body byte for byte, and the answer of no exchange reaches another.
"""`python tests/fuzz/fuzz_response.py --seconds 60 [--seed N]`: mutates the response cases of tests/wire behind a live gw. What breaks the invariant is kept in --keep."""

from __future__ import annotations

import asyncio
import random
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fuzz.live import HANG, Bench, Violation, arguments, campaign, mutate  # the root must be on the path first
from tests.wire.model import head
from tests.wire.origin import Wire, connect
from tests.wire.responses import CASES
from tests.wire.run import Reader
from tests.wire.run_response import fresh
from tests.wire.scenario import UPGRADE
from tests.wire.strict import Malformed, Request, Response, take_response

LARGEST = 20_000  # bytes of a case that is worth mutating
CORPUS = [case.answer for case in CASES.values() if 0 < len(case.answer) < LARGEST]
LENIENT = re.compile(rb"\AHTTP/1\.[1-9] ([0-9]{3}) ?")  # a later minor version, no space behind the code: not strict, but nobody can misread it
# A recipient passes over empty elements of a list, a sender makes none (RFC 9110 section 5.6.1): what gw sends is read without this.
EMPTY = re.compile(rb"(?im)^(transfer-encoding:)[ \t,]*(chunked)[ \t,]*(?=\r$)")
REQUESTS = [
    head("GET /r HTTP/1.1"),
    head("HEAD /r HTTP/1.1"),
    head("GET /r HTTP/1.0"),
    head("POST /r HTTP/1.1", "Content-Length: 5") + b"hello",
    UPGRADE.replace(b"/ws", b"/r"),
]


def _as_a_recipient(data: bytes) -> bytes:
    """The next answer with what the grammar of a recipient takes as well."""
    head, end, rest = LENIENT.sub(rb"HTTP/1.1 \1 ", data).partition(b"\r\n\r\n")
    return EMPTY.sub(rb"\1 \2", head + end) + rest


def strict_final(data: bytes, method: str, eof: bool) -> Response | None:
    """The final answer that a strict reading finds, None when there is none or it is not whole. Malformed for a field that gw leaves out and nobody can misread."""
    try:
        while taken := take_response(data := _as_a_recipient(data), method, eof):
            response, end = taken
            if response.status >= 200 or response.status == 101:
                return response if response.complete else None
            data = data[end:]
    except Malformed as error:
        if not error.framing:
            raise
    return None


def compare(data: bytes, method: str, eof: bool, got: Response | None, reader: Reader) -> None:
    if got is None or (got.status >= 500 and b"application/problem" in (got.first("content-type") or b"")):
        return
    try:
        meant = strict_final(data, method, eof)
    except Malformed:
        return
    whole = got.complete and not reader.reset
    if meant is None:
        if whole and got.framing != "close":
            raise Violation(f"a whole {got.status} with {got.body[:60]!r} was made of an answer that is none")
        return
    if got.status != meant.status:
        raise Violation(f"status {got.status} instead of {meant.status}")
    if whole and got.body != meant.body:
        raise Violation(f"body {got.body[:60]!r} instead of {meant.body[:60]!r}")


@dataclass
class Play:
    """What the origin does with one request: the bytes, where they are cut, and how the connection goes on."""

    data: bytes
    cuts: list[int]
    then: str  # close | keep | reset
    sent: asyncio.Event = field(default_factory=asyncio.Event)

    async def script(self, wire: Wire, _: Request) -> bool:
        self.sent.clear()
        try:
            for start, end in zip([0, *self.cuts], [*self.cuts, len(self.data)], strict=True):
                await wire.send(self.data[start:end])
                await asyncio.sleep(0.001 if self.cuts else 0)
            if self.then == "reset":
                await asyncio.sleep(0.005)
                wire.reset()
            return self.then == "keep"
        finally:
            self.sent.set()


def draw(chance: random.Random) -> Play:
    data = chance.choice(CORPUS)
    data = mutate(chance, data, CORPUS) if chance.random() < 0.95 else data
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 1, 2, 5))))
    return Play(data, cuts, chance.choice(("close", "close", "close", "keep", "reset")))


async def ask(bench: Bench, request: bytes) -> tuple[Reader, bool]:
    """What the client reads, and whether it was switched to another protocol."""
    wire = await connect(bench.peer.port)
    reader = Reader(wire, (0,) if request.startswith(b"HEAD") else ())
    try:
        await wire.send(request)
        await reader.finals_or_end(1, HANG)
        switched = any(interim.status == 101 for interim in reader.interims)
        if not reader.finals and not reader.ended and not reader.fault and not switched:
            raise Violation("neither an answer nor an end")
        if reader.finals and reader.finals[0].closes:
            await reader.end(HANG)
        return reader, switched
    finally:
        wire.close()


async def play(bench: Bench, chance: random.Random, current: list[bytes]) -> None:
    part, request = draw(chance), chance.choice(REQUESTS)
    current.extend((request, f"then {part.then}, cuts {part.cuts}".encode(), part.data))
    bench.origin.forget()
    bench.origin.scripts = {"/r": part.script}
    try:
        reader, switched = await ask(bench, request)
    finally:
        bench.origin.scripts = {}
    if switched and b"websocket" not in request:
        raise Violation("a tunnel nobody asked for")
    method = request.split(b" ", 1)[0].decode()
    if not switched:
        if reader.fault:
            raise Violation(f"the client received {reader.fault}")
        compare(part.data, method, part.then != "keep", reader.finals[0] if reader.finals else None, reader)
    if bench.origin.seen:
        await asyncio.wait_for(part.sent.wait(), HANG)
        await asyncio.sleep(0.003)  # an origin's bytes that cross the next request on their way are beyond anybody's telling apart
    problem = await fresh(bench.peer)
    if problem:
        raise Violation(f"the next exchange: {problem}")
    if method == "POST" and sum(seen.method == "POST" for seen in bench.origin.seen) > 1:
        raise Violation("a POST was repeated")


if __name__ == "__main__":
    options = arguments("fuzz_response")
    sys.exit(1 if asyncio.run(campaign(options.seconds, options.seed, options.keep, play)) else 0)
