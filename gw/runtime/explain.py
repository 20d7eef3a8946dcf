"""What a snapshot would do with a request: the engine of live traffic, asked offline, with its reasons."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from gw._fast.explain import Inquiry
from gw._fast.lane import Lane
from gw._fast.lease import Leases
from gw._fast.shm import Segment
from gw._fast.snapshot import Snapshot
from gw.config.policies import ANY
from gw.errors import GatewayError
from gw.store import Ask, MemoryLedger, Source, Usage, source_key

LEASE = 1.0  # seconds that a grant may be spent, offline


class Loser(Struct, frozen=True):
    """A route that was considered and lost."""

    route: int  # index in the config
    why: str


class Reply(Struct, frozen=True):
    """What an endpoint is said to answer: a final status, fields in order, and the body."""

    status: int = 200
    headers: list[tuple[str, str]] = []
    body: bytes = b""


class Verdict(Struct, frozen=True):
    """What one policy made of the request. `verdict` is pass, answer, or next: the next alternative was tried."""

    policy: str
    verdict: str
    told: str  # what it saw, in a few words
    reason: str  # why it refused, from the closed list
    us: int  # time it took
    phase: str = "request"  # the hook: request, request_body, origin_request, response, response_body
    pointer: str = ""  # where its config stands; empty for what gw adds by itself


class Decision(Struct, frozen=True):
    """The outcome for one request. `route` is the index in the config, -1 when none took it; `reason` then says why it is refused."""

    method: str
    host: str
    path: str  # normalised: what was routed and what would be forwarded
    client: str
    route: int
    won: str  # why the winner won
    losers: list[Loser]
    params: list[str]
    steps: list[str]  # policies in the order they would run
    reason: str = ""
    status: int = 0  # that the client gets; 0: the endpoint answers, and what is not known
    detail: str = ""
    verdicts: list[Verdict] = []
    identity: dict[str, str] = {}
    endpoint: int = -1  # index in the service, -1: nothing is forwarded, or nowhere to
    forwarded: bytes = b""  # the head as it would go to the endpoint
    forwarded_body: bytes | None = None  # what would follow; None when the request's body is not known
    answer: bytes = b""  # what the client gets, head and body: gw's own answer, or the endpoint's where that is known


class Engine:
    """A lane that serves nobody: questions share what limits have counted, as requests would."""

    def __init__(self, snapshot: Snapshot, segment: Segment, store: Path | None = None) -> None:
        """What quotas have used is read from `store` if it is there; nothing is written to it."""
        self.snapshot = snapshot
        self.reports: list[tuple[str, dict[str, object]]] = []  # what would stand in the error log
        self._wall = self._now = 0.0  # of the question
        self._usage = Usage(store, lambda: self._wall) if store else None
        self._ledger = MemoryLedger(lambda: self._wall, self._usage)
        self._leases = Leases(segment) if segment.limit_cells else None
        self._lane = Lane(segment, 0, self._report, lambda: None)
        self._lane.install(snapshot)

    def close(self) -> None:
        """Give everything back."""
        self._lane.close()
        if self._usage:
            self._usage.end()

    def _report(self, event: str, fields: dict[str, Any]) -> None:
        if event == "units-wanted" and self._leases:
            self._grant(self._leases, fields["place"], Ask(fields["meter"], fields["key"], fields["want"]))
        else:
            self.reports.append((event, fields))

    def _grant(self, leases: Leases, place: bytes, ask: Ask) -> None:
        """As the supervisor would, but no more than is asked for and before anybody waits."""
        try:
            (granted,) = self._ledger.take_now([ask], LEASE)
        except GatewayError as error:
            self.reports.append(("ledger-away", {"reason": str(error)}))
            return
        now_us, until_us = round(self._now * 1_000_000), round((self._now + min(granted.seconds, LEASE)) * 1_000_000)
        if granted.units >= ask.units:
            leases.grant(place, granted.units, 0, until_us, now_us)
        else:
            leases.refuse(place, ask.units, away=False, until_us=until_us, retry_us=round(granted.seconds * 1_000_000), now_us=now_us)
        leases.tally(place, granted.left, until_us, now_us)

    @property
    def sources(self) -> dict[str, Source]:
        """What the policies follow, by key."""
        return {source_key(source): source for source, _ in self.snapshot.settings["sources"]}

    def give(self, choose: Callable[[str, dict[str, Any]], bytes | None]) -> None:
        """Hand the policies the data of their sources, as the supervisor would. `choose` has a source's key and settings, and gives None where there is no data."""
        for source, take in self.snapshot.settings["sources"]:
            settings = msgspec.to_builtins(source)
            data = choose(source_key(source), settings)
            if data is None:
                self.reports.append(("source-without-data", settings))
            else:
                take(data)

    async def fetch(self, *, remote: bool = True) -> tuple[dict[str, bytes], list[GatewayError]]:
        """The data of all sources as it is now, or of those on this machine alone, by key, and why some were not to be had."""
        sources = {key: source for key, source in self.sources.items() if remote or source.local}
        found = await asyncio.gather(*(source.once() for source in sources.values()), return_exceptions=True)
        data: dict[str, bytes] = {}
        failed = []
        for key, each in zip(sources, found, strict=True):
            if isinstance(each, bytes):
                data[key] = each
            elif isinstance(each, GatewayError):
                failed.append(each)
            else:
                raise each
        return data, failed

    async def supply(self, *, remote: bool = True) -> list[GatewayError]:
        """Have every source read once, as the supervisor does for workers, or those on this machine alone; why some were not to be had."""
        data, failed = await self.fetch(remote=remote)
        self.give(lambda key, _: data.get(key))
        return failed

    async def ask(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]] | None = None,
        client: str = "127.0.0.1",
        wall: float | None = None,
        now: float | None = None,
        *,
        body: bytes | None = None,
        reply: Reply | None = None,
    ) -> Decision:
        """`url` is absolute, or a path that goes with a Host among `headers`; `wall` and `now` are seconds of the wall clock and of the monotonic one.

        `body` is None when only the head is told, `reply` when it is not known what the endpoint answers. Raises ValueError for what is no message at all, and when a
        policy looks at a body that the head announces and nobody told.
        """
        considered: list[tuple[int, str]] = []
        self._wall, self._now = time.time() if wall is None else wall, time.monotonic() if now is None else now
        now_us = round(self._now * 1_000_000)
        head, given = _request(method, url, headers or [], body), _answer(reply, method) if reply else None
        asked = Inquiry(self._lane, head, client, url.startswith("https://"), now_us, int(self._wall), body, given)
        try:
            found = asked.route(lambda route, text: considered.append((route, text)))
            verdicts = await _steps(asked)
            endpoint = asked.endpoint()
            answer = asked.answer()
            forwarded = b"" if asked.reason() else asked.forwarded()
            route = found["route"]
            return Decision(
                method=method,
                host=found["host"],
                path=found["path"],
                client=found["client"],
                route=max(route, -1),
                won=next((text for index, text in reversed(considered) if index == route), ""),
                losers=[Loser(index, text) for index, text in considered if index != route],
                params=found["params"],
                steps=[step.name for step in self.snapshot.plans[route]["steps"]] if route >= 0 else [],
                reason=asked.reason(),
                status=int(answer[9:12]) if answer else 0,
                detail=found["detail"],
                verdicts=verdicts,
                identity={key: value for key, value in asked.identity().items() if isinstance(value, str) and value},
                endpoint=endpoint if forwarded else -1,
                forwarded=forwarded,
                forwarded_body=asked.forwarded_body() if forwarded else None,
                answer=answer,
            )
        finally:
            asked.close()


async def _steps(asked: Inquiry) -> list[Verdict]:
    verdicts = []
    while (found := asked.step()) is not None:
        if found["verdict"] == "waits":
            began = time.monotonic()
            if asked.task is not None:
                await asyncio.wait([asked.task])
                await asyncio.sleep(0)  # its callbacks run in the loop's next turn
            found = {**found, **asked.woken(), "us": found["us"] + round((time.monotonic() - began) * 1_000_000)}
        if found["policy"] == ANY:
            continue
        verdicts.append(Verdict(found["policy"], found["verdict"], found["told"], found["reason"], found["us"], found["phase"], found["pointer"]))
    return verdicts


def decide(snapshot: Snapshot, segment: Segment, method: str, url: str, headers: list[tuple[str, str]] | None = None, client: str = "127.0.0.1") -> Decision:
    """Ask the snapshot once. Raises ValueError for what is no head at all, GatewayError when it hangs on a source that cannot be had."""
    engine = Engine(snapshot, segment)

    async def ask() -> Decision:
        failed = await engine.supply()
        decision = await engine.ask(method, url, headers, client)
        if failed and decision.reason == "decision-unavailable":
            raise failed[0]
        return decision

    try:
        return asyncio.run(ask())
    finally:
        engine.close()


def _request(method: str, url: str, headers: list[tuple[str, str]], body: bytes | None) -> bytes:
    parts = urlsplit(url)
    host = [] if any(name.lower() == "host" for name, _ in headers) else [("Host", parts.netloc or "localhost")]
    target = url[len(f"{parts.scheme}://{parts.netloc}") :].partition("#")[0] or "/" if parts.scheme else url
    length = [] if body is None else _length(headers, body)
    return _head(f"{method} {target} HTTP/1.1", [*host, *headers, *(length if body else [])])


def _answer(reply: Reply, method: str) -> tuple[bytes, bytes]:
    bodiless = method == "HEAD" or reply.status in (204, 304)
    return _head(f"HTTP/1.1 {reply.status} ", [*reply.headers, *([] if bodiless else _length(reply.headers, reply.body))]), reply.body


def _length(headers: list[tuple[str, str]], body: bytes) -> list[tuple[str, str]]:
    """The field that announces a body, where none does. Raises ValueError when one announces another body."""
    named = {name.lower(): value.strip() for name, value in headers}
    if named.get("content-length", str(len(body))) != str(len(body)):
        raise ValueError(f"Content-Length is {named['content-length']}, and the body has {len(body)} bytes")
    return [] if named.keys() & {"transfer-encoding", "content-length"} else [("Content-Length", str(len(body)))]


def _head(first: str, fields: list[tuple[str, str]]) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in fields)]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header or the URL holds a line break")
    return "\r\n".join([*lines, "", ""]).encode("utf-8")
