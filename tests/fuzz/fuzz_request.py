# Invariant: whatever bytes a client sends, cut in whatever pieces, the worker lives, the exchange ends within 5 s of the client's last byte, the next client is served,
# the origin receives only well-formed requests, in number, order and body those that a strict reading of the client's bytes holds, and the client reads only well-formed answers.
"""`python tests/fuzz/fuzz_request.py --seconds 60 [--seed N]`: mutates the request cases of tests/wire against a live gw. What breaks the invariant is kept in --keep."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fuzz.live import HANG, Bench, Violation, arguments, campaign, mutate  # the root must be on the path first
from tests.wire.cases import CASES
from tests.wire.model import head
from tests.wire.origin import Wire, connect
from tests.wire.run import Reader
from tests.wire.strict import REQUEST_LINE, Malformed, Request, declared_length, read_fields, split_head

LARGEST = 20_000  # bytes of a case that is worth mutating
CORPUS = [case.send for case in CASES.values() if len(case.send) < LARGEST]
CHUNK = re.compile(rb"0*([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\0\r\n]*)?")  # looser than the grammar, but no two readers can disagree on it
HEAD = re.compile(rb"HEAD(?![!#$%&'*+\-.^_`|~0-9A-Za-z])")
GOOD = head("GET /after HTTP/1.1")


@dataclass
class Reading:
    """(method, body) of the requests up to the first whose borders are in doubt. A method whose line is malformed is empty."""

    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    heads: list[int] = field(default_factory=list)  # which answers answer HEAD, so far as anybody can tell


def framed(data: bytes) -> Reading:
    found = Reading()
    while True:
        while data[:2] == b"\r\n":
            data = data[2:]
        if HEAD.match(data):
            found.heads.append(len(found.requests))
        try:
            taken = take(data)
        except Malformed:
            taken = None
        if taken is None:
            return found
        line, body, end = taken
        found.requests.append((line.split(b" ")[0] if REQUEST_LINE.fullmatch(line) else b"", body))
        data = data[end:]


def take(data: bytes) -> tuple[bytes, bytes, int] | None:
    """Line, body and length of the first request, whose line may be nonsense; None while it is incomplete."""
    split = split_head(data)
    if split is None:
        return None
    lines, end = split
    fields = [(name, value.strip(b", \t") if name.lower() == b"transfer-encoding" else value) for name, value in read_fields(lines[1:])]  # empty list elements mean nothing
    request = Request(version=lines[0].rpartition(b"HTTP/")[2].decode("latin-1"), fields=fields)
    length = declared_length(request)
    if request.chunked:
        done = body_end(data, end, request)
        return None if done is None else (lines[0], request.body, done)
    done = end + (length or 0)
    return (lines[0], data[end:done], done) if done <= len(data) else None


def body_end(data: bytes, at: int, request: Request) -> int | None:
    """Where a chunked body ends and what it holds, whatever its extensions and trailers say; None while incomplete."""
    while (end := data.find(b"\r\n", at)) >= 0:
        match = CHUNK.fullmatch(data[at:end])
        if not match:
            raise Malformed("chunk size")
        size, at = int(match[1], 16), end + 2
        if not size:
            last = data.find(b"\r\n\r\n", at - 2)
            return None if last < 0 else last + 4
        if data[at + size : at + size + 2] != b"\r\n":
            return None
        request.body += data[at : at + size]
        at += size + 2
    return None


def compare(data: bytes, seen: list[Request]) -> None:
    """Each request at the origin is one of those in the bytes, in order; gw may have answered others by itself."""
    allowed = framed(data).requests
    at = 0
    for request in seen:
        while at < len(allowed) and (allowed[at][0] or request.method.encode(), allowed[at][1]) != (request.method.encode(), request.body):
            at += 1
        if at == len(allowed):
            held = [(method, body[:20]) for method, body in allowed[:6]]
            raise Violation(f"the origin got {request.method} {request.target[:60]!r} with {request.body[:60]!r}; in the bytes are {held}")
        at += 1


async def send(wire: Wire, data: bytes, chance: random.Random) -> None:
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 1, 2, 5))))
    with contextlib.suppress(OSError):
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            await wire.send(data[start:end])
            await asyncio.sleep(chance.choice((0, 0, 0.001)) if cuts else 0)
        wire.end_writing()


async def play(bench: Bench, chance: random.Random, current: list[bytes]) -> None:
    data = mutate(chance, chance.choice(CORPUS), CORPUS)
    if chance.random() < 0.3:
        data += GOOD
    current.append(data)
    bench.origin.forget()
    wire = await connect(bench.peer.port)
    reader = Reader(wire, tuple(framed(data).heads))
    sender = asyncio.ensure_future(send(wire, data, chance))
    try:
        if not await reader.end(HANG) and not reader.fault:
            raise Violation(f"the connection does not end; answers {[final.status for final in reader.finals]}")
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        wire.close()
    for fault in bench.origin.faults:
        raise Violation(f"the origin received {fault}")
    if reader.fault:
        raise Violation(f"the client received {reader.fault}")
    if any(not final.complete for final in reader.finals) and not reader.reset:
        raise Violation("an answer is cut")
    compare(data, [request for request in bench.origin.seen if not request.target.startswith("/fresh-")])


if __name__ == "__main__":
    options = arguments("fuzz_request")
    sys.exit(1 if asyncio.run(campaign(options.seconds, options.seed, options.keep, play)) else 0)
