"""Drives one case through a proxy and judges what came of it at both ends."""

from __future__ import annotations

import asyncio
import contextlib
import random
import zlib
from dataclasses import dataclass, field

from tests.wire.model import Case, Seen, Verdict, Want
from tests.wire.origin import Origin, Wire, connect
from tests.wire.peers import Peer
from tests.wire.strict import Malformed, Request, Response, take_response

MODES = ("whole", "bytes", "split")
PATIENCE = 1.5  # seconds a connection may be silent before it counts as hanging; the peers' linger time is below it
BYTE_STEPS = 3000  # longer messages are sent in this many pieces


@dataclass
class Reader:
    """Reads answers strictly off a client connection."""

    wire: Wire
    heads: tuple[int, ...] = ()
    finals: list[Response] = field(default_factory=list)
    interims: list[Response] = field(default_factory=list)
    ended: bool = False
    reset: bool = False
    fault: Malformed | None = None

    async def more(self, timeout: float = PATIENCE) -> bool:
        """Wait for bytes and parse them; False after silence or the end of the stream."""
        if self.ended or self.fault:
            return False
        try:
            async with asyncio.timeout(timeout):
                self.ended = not await self.wire.fill()
        except TimeoutError:
            return False
        except OSError:
            self.ended = self.reset = True
        self.parse()
        return not self.ended

    def parse(self) -> None:
        try:
            while taken := take_response(self.wire.buffer, "HEAD" if len(self.finals) in self.heads else "GET", self.ended):
                response, end = taken
                self.wire.buffer = self.wire.buffer[end:]
                (self.interims if response.status < 200 else self.finals).append(response)
                if response.framing == "close" or not response.complete:
                    break
        except Malformed as fault:
            self.fault = fault

    async def finals_or_end(self, count: int, timeout: float = PATIENCE) -> None:
        while len(self.finals) < count and await self.more(timeout):
            pass

    async def end(self, timeout: float = PATIENCE) -> bool:
        while await self.more(timeout):
            pass
        return self.ended


def pieces(case: Case, mode: str) -> list[bytes]:
    """The bytes of a case as they are sent: whole, in two parts at a place that depends on its name, or byte by byte."""
    data = case.send
    if mode == "whole":
        return [data]
    if mode == "split":
        at = random.Random(zlib.crc32(case.name.encode())).randrange(1, len(data))
        return [data[:at], data[at:]]
    step = max(1, len(data) // BYTE_STEPS)
    return [data[at : at + step] for at in range(0, len(data), step)]


async def send_case(wire: Wire, case: Case, mode: str, reader: Reader) -> None:
    sent = 0
    with contextlib.suppress(OSError):
        for piece in pieces(case, mode):
            if sent < case.wait_at <= sent + len(piece):
                await wire.send(piece[: case.wait_at - sent])
                for _ in range(200):
                    if reader.interims or reader.finals or reader.ended:
                        break
                    await asyncio.sleep(0.005)
                await wire.send(piece[case.wait_at - sent :])
            else:
                await wire.send(piece)
            sent += len(piece)
            await asyncio.sleep(0.004 if mode == "split" else 0)
        if case.half_close:
            wire.end_writing()


@dataclass
class Outcome:
    """What happened, both ends."""

    finals: list[Response]
    interims: list[Response]
    closed: bool
    seen: list[Request]
    faults: list[Malformed]
    fault: Malformed | None
    stuck: bool = False
    mixed: str = ""

    def summary(self) -> str:
        answers = ",".join(str(response.status) for response in self.finals) or "no answer"
        origin = ", ".join(f"{request.method} {request.target[:30]} +{len(request.body)}" for request in self.seen[:4]) or "nothing"
        return f"client got {answers}{' and the end' if self.closed else ''}{' (stuck)' if self.stuck else ''}; origin got {origin}{'; ' + str(self.faults[0]) if self.faults else ''}"


async def probe(reader: Reader, origin: Origin, outcome: Outcome) -> None:
    """Use the connection once more: an answer that is not the probe's own shows two ends that disagree."""
    before, mark = len(reader.finals), f"/probe-{random.getrandbits(48):x}"
    reader.heads = ()
    with contextlib.suppress(OSError):
        await reader.wire.send(f"GET {mark} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
    await reader.finals_or_end(before + 1)
    got = reader.finals[before:]
    if got and got[0].body != f"GET {mark}".encode():
        if got[0].status < 400:
            outcome.mixed = f"a fresh request on the connection got {got[0].status} {got[0].body[:60]!r}"
        outcome.closed = True
    elif not got:
        outcome.closed, outcome.stuck = reader.ended, not reader.ended
    origin.seen = [request for request in origin.seen if request.target != mark]
    del reader.finals[before:]


async def observe(case: Case, peer: Peer, origin: Origin, mode: str) -> Outcome:
    origin.forget()
    wire = await connect(peer.port)
    reader = Reader(wire, case.heads)
    sender = asyncio.ensure_future(send_case(wire, case, mode, reader))
    try:
        await reader.finals_or_end(case.answers)
        for _ in range(20):  # a large body may still be on its way when the answer is not due
            if sender.done() or reader.ended or len(reader.finals) >= case.answers:
                break
            await reader.finals_or_end(case.answers)
        outcome = Outcome(reader.finals, reader.interims, reader.ended, [], [], None)
        last = reader.finals[-1] if reader.finals else None
        if not reader.ended and (not last or last.closes or case.half_close or (last.status >= 400 and all(want.close for want in case.ok))):
            outcome.closed = await reader.end(PATIENCE if not last or last.closes else PATIENCE / 4)
            outcome.stuck = not outcome.closed and not reader.finals
        if not reader.ended and last and not last.closes and not case.half_close:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(sender), PATIENCE)
            await probe(reader, origin, outcome)
        await asyncio.sleep(0.002)
        outcome.seen, outcome.faults, outcome.fault = list(origin.seen), list(origin.faults), reader.fault
        return outcome
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        wire.close()


def matches(want: Want, outcome: Outcome) -> str:
    """Why an outcome is not the wanted one; empty when it is."""
    got = [response.status for response in outcome.finals]
    if len(got) != len(want.statuses) or any(status not in allowed for status, allowed in zip(got, want.statuses, strict=True)):
        return f"answers {got}"
    if any(not response.complete for response in outcome.finals):
        return "an answer is cut"
    if len(outcome.seen) != len(want.seen):
        return f"origin got {len(outcome.seen)} requests"
    for expected, request in zip(want.seen, outcome.seen, strict=True):
        problem = expected.mismatch(request)
        if problem:
            return problem
    if want.close is not None and want.close != outcome.closed:
        return "connection stays open" if want.close else "connection closed"
    return ""


def bodies_differ(case: Case, seen: list[Request]) -> bool:
    """Whether the origin read bodies that no admissible outcome has."""
    wants: list[tuple[Seen, ...]] = [want.seen for want in (*case.ok, *case.lax) if len(want.seen) >= len(seen)]
    return bool(wants) and not any(all(expected.body in (None, request.body) for expected, request in zip(want, seen, strict=False)) for want in wants)


def judge(case: Case, outcome: Outcome) -> Verdict:
    wants = (*case.ok, *case.lax)
    if outcome.mixed:
        return Verdict("desync", outcome.mixed)
    for fault in outcome.faults:
        return Verdict("desync" if fault.framing else "wrong", f"origin received {fault}")
    smuggled = any("smuggled" in request.target for request in outcome.seen) and not any("smuggled" in str(seen.target) for want in wants for seen in want.seen)
    if smuggled or len(outcome.seen) > case.answers:
        return Verdict("desync", outcome.summary())
    if outcome.fault:
        return Verdict("wrong", f"client received {outcome.fault}")
    if outcome.seen and bodies_differ(case, outcome.seen):
        return Verdict("desync", outcome.summary())
    if outcome.stuck:
        return Verdict("wrong", f"hangs: {outcome.summary()}")
    if case.interim is not None and case.interim != bool(outcome.interims):
        return Verdict("wrong", "no interim answer" if case.interim else "an interim answer")
    reasons = [matches(want, outcome) for want in case.ok]
    if "" in reasons:
        return Verdict("ok")
    if any(not matches(want, outcome) for want in case.lax):
        return Verdict("lax", outcome.summary())
    return Verdict("wrong", f"{reasons[0]}: {outcome.summary()}")


def refused(case: Case, outcome: Outcome) -> bool:
    return case.valid and (not outcome.finals or outcome.finals[0].status in (400, 411, 417, 431, 501, 505))


async def run_case(case: Case, peer: Peer, origin: Origin, mode: str = "whole") -> Verdict:
    return judge(case, await observe(case, peer, origin, mode))
