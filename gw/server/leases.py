"""Grants units of the limits that a ledger counts: gathers what workers ask for, asks the ledger once a turn of the loop, writes the leases (docs/leases.md)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from heapq import heappop, heappush
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple

from gw._fast.lease import Leases
from gw._fast.shm import Segment
from gw.errors import GatewayError
from gw.server.channel import Asked
from gw.store import Ask, Grant, Ledger, MemoryLedger, Rest, calendar_bounds
from gw.store.source import Log

QUOTA_LEASE = 10.0  # seconds that a grant of a quota may be spent
RATE_LEASE = 1.0  # of a rate
TURN = 256  # asks that one call of the ledger answers: others wait meanwhile
FIRST = 8  # units of a key's first grant, at most
FIRST_PART = 100  # and at most this part of the limit
MOST = 65536  # units of any grant
MOST_PART = 16  # and at most this part of the limit, so that other nodes find some
GROWTH = 4  # times as many as the grant before
RETRY = 2.0  # seconds between two tries of a ledger that is away
REFUSAL = 30.0  # seconds after which a key that is refused is asked for again: its limit may have been raised, or units given back elsewhere
SHORT = 1.0  # seconds that a key is refused whose units are fewer than a request costs
TOLD = 60.0  # seconds beyond a lease that what is left is told
CLOSE = 0.1  # seconds between two looks for leases that have ended; cells keep theirs for a second
OPENING = 2.0  # seconds that the start waits for a ledger
RESTS_MAX = 10_000  # that wait for a ledger that is away; more count as spent


class Lease(Struct):
    """What was granted to a key last. Times are seconds of the monotonic clock."""

    asked: Asked
    ledger: Ledger | None  # None: nobody counts it
    period: int
    units: int
    left: int  # in the ledger
    at: float
    until: float

    def rest(self, units: int) -> Rest:
        """Of these units."""
        return Rest(self.asked.meter, self.asked.key, units, self.period)


class Figures(Struct):
    """For metrics."""

    grants: int = 0
    units: int = 0
    returned: int = 0
    refusals: int = 0
    failures: int = 0
    leases: int = 0
    away: bool = False


def summed(figures: list[Figures]) -> Figures | None:
    """Of several lenders; None of none. Away is what one of them is."""
    return Figures(*(sum(values) for values in zip(*map(astuple, figures), strict=True))) if figures else None


class Lender:
    """`woken()` is called when leases were written that exchanges may wait for; `start(work)` runs work on the loop until it is done or the process ends."""

    def __init__(
        self,
        segment: Segment,
        woken: Callable[[], None],
        start: Callable[[Awaitable[Any]], None],
        log: Log,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._cells = Leases(segment) if segment.limit_cells else None
        self._woken = woken
        self._start = start
        self._log = log
        self._clock = clock
        self._wall = wall
        self._ledger: Ledger | None = None
        self._life: float | None = None
        self._former: list[Ledger] = []
        self._local = MemoryLedger(wall)
        self._wanted: dict[bytes, Asked] = {}
        self._leases: dict[bytes, Lease] = {}
        self._due: list[tuple[float, bytes]] = []
        self._rests: list[tuple[Ledger, Rest]] = []
        self._working = self._minding = self._returning = self._waited = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._retry = 0.0
        self.figures = Figures()

    def __repr__(self) -> str:
        return f"<Lender {self._ledger} {len(self._leases)} leases>"

    @property
    def used(self) -> bool:
        """Whether there is a ledger to ask."""
        return self._ledger is not None

    def use(self, ledger: Ledger | None, life: float | None = None) -> None:
        """Grant from this ledger from now on; what another one granted goes back there. `life`: of all grants, in seconds, instead of those above."""
        if self._ledger:
            self._former.append(self._ledger)
        self._ledger, self._life = ledger, life
        self._retry = 0.0

    async def begin(self) -> None:
        """See whether the ledger can be asked: what it takes to open it should not be a request's wait."""
        with suppress(TimeoutError):
            async with asyncio.timeout(OPENING):
                await self._take(self._ledger, [], QUOTA_LEASE)

    def asked(self, message: Asked) -> None:
        """A worker needs units for a key."""
        if self._cells is None:
            return
        known = self._wanted.get(message.place)
        if known is None or known.want < message.want:
            self._wanted[message.place] = message
        if not self._working:
            self._working = True
            self._idle.clear()
            self._start(self._work())

    async def end(self) -> None:
        """Give everything back; no worker may live. Waits for what is being asked for: that is counted already, and goes back too."""
        await self._idle.wait()
        for place in list(self._leases):
            self._close(place)
        await self._return()
        for ledger in (*self._former, self._ledger):
            if ledger:
                await ledger.close()

    async def _work(self) -> None:
        try:
            await asyncio.sleep(0)  # what other workers ask in this turn comes along
            while self._wanted:
                batch = [self._wanted.pop(place) for place in list(self._wanted)[:TURN]]
                rates, quotas = [each for each in batch if each.meter.burst], [each for each in batch if not each.meter.burst]
                for life, asked in ((RATE_LEASE, rates), (QUOTA_LEASE, quotas)):
                    if asked:
                        await self._answer(asked, self._life or life)
                if self._waited:
                    self._waited = False
                    self._woken()
                await self._return()
        finally:
            self._working = False
            self._idle.set()
        if self._leases and not self._minding:
            self._minding = True
            self._start(self._mind())

    async def _answer(self, batch: list[Asked], lease: float) -> None:
        began = self._clock()
        self._waited |= any(self._held(asked, began) < asked.want for asked in batch)
        asks = [Ask(asked.meter, asked.key, self._size(asked, lease, began)) for asked in batch]
        ledger = self._ledger  # a reload may put another in its place meanwhile
        grants = await self._take(ledger, asks, lease)
        for index, (asked, ask) in enumerate(zip(batch, asks, strict=True)):
            if grants is not None:
                self._write(asked, ledger, grants[index], began)
            elif asked.away == "closed":
                self._refuse(asked, Grant(0, 0, RETRY), RETRY, began, away=True)
            elif asked.away == "open":
                self._write(asked, None, Grant(ask.units, asked.meter.units, lease), began)
            else:
                self._write(asked, self._local, self._local.take_now([ask], lease)[0], began)

    async def _take(self, ledger: Ledger | None, asks: list[Ask], lease: float) -> list[Grant] | None:
        """None while the ledger is away; said once."""
        if ledger is None or self._clock() < self._retry:
            return None
        try:
            grants = await ledger.take(asks, lease)
        except GatewayError as error:
            self._failed(error)
            return None
        if self.figures.away:
            self.figures.away = False
            self._log("info", "ledger-back")
        return grants

    def _failed(self, error: GatewayError) -> None:
        self.figures.failures += 1
        self._retry = self._clock() + RETRY
        if not self.figures.away:
            self.figures.away = True
            self._log("error", "ledger-away", reason=str(error), hint="limits go on as their `away` says")

    def _size(self, asked: Asked, lease: float, now: float) -> int:
        """Units for half a lease at the pace of the last one: at first few, then at most GROWTH times as many as before."""
        meter, before = asked.meter, self._leases.get(asked.place)
        size = min(FIRST, (meter.burst or meter.units) // FIRST_PART)
        if before:
            spent = before.units - self._held(asked, now)
            size = min(int(spent / max(now - before.at, 0.001) * lease / 2), before.units * GROWTH)
        return max(asked.want, min(size, MOST, (meter.burst or meter.units) // MOST_PART), 1)

    def _held(self, asked: Asked, now: float) -> int:
        """Units that workers find in its lease."""
        assert self._cells
        return self._cells.read(asked.place, _us(now))[0]

    def _write(self, asked: Asked, ledger: Ledger | None, grant: Grant, began: float) -> None:
        assert self._cells
        lease = Lease(asked, ledger, grant.period, grant.units, grant.left, began, began + grant.seconds)
        if grant.units == 0:
            self._refuse(asked, grant, min(grant.seconds, REFUSAL), began)
        elif grant.units < asked.want:
            self._keep(lease, grant.units)
            retry = calendar_bounds(asked.meter.calendar, asked.meter.zone, self._wall())[1] - self._wall() if asked.meter.calendar else SHORT
            self._refuse(asked, Grant(0, grant.left + grant.units, retry), SHORT, began)
        else:
            rest = self._cells.grant(asked.place, grant.units, min((grant.units // 4).bit_length(), 15), _us(lease.until), _us(self._clock()))
            if rest is None:
                self._keep(lease, grant.units)
                return
            self._returned(asked.place, rest, lease)
            self._leases[asked.place] = lease
            heappush(self._due, (lease.until, asked.place))
            self.figures.grants += 1
            self.figures.units += grant.units
            self._tell(lease)

    def _refuse(self, asked: Asked, grant: Grant, seconds: float, began: float, *, away: bool = False) -> None:
        assert self._cells
        now = self._clock()
        rest = self._cells.refuse(asked.place, asked.want, away, _us(began + seconds), _us(grant.seconds), _us(now))
        self.figures.refusals += 1
        if rest or not self._held(asked, now):
            self._returned(asked.place, rest, None)
        if not away:
            self._cells.tally(asked.place, grant.left + rest, _us(began + seconds + TOLD), _us(now))

    def _returned(self, place: bytes, rest: int, lease: Lease | None) -> None:
        """The lease of a key is over, and what nobody spent of it goes back."""
        before = self._leases.pop(place, None)
        if before and rest:
            self._keep(before, rest)
            if lease and lease.ledger is before.ledger:
                lease.left += rest

    def _keep(self, lease: Lease, units: int) -> None:
        self.figures.returned += units
        if lease.ledger and len(self._rests) < RESTS_MAX:
            self._rests.append((lease.ledger, lease.rest(units)))

    def _tell(self, lease: Lease) -> None:
        assert self._cells
        self._cells.tally(lease.asked.place, lease.left, _us(lease.until + TOLD), _us(self._clock()))

    def _close(self, place: bytes) -> None:
        assert self._cells
        lease = self._leases.pop(place)
        if rest := self._cells.close(place):
            self._keep(lease, rest)
            lease.left += rest
            self._tell(lease)

    async def _return(self) -> None:
        """Rests to their ledgers; those that one cannot take now stay for later."""
        rests, self._rests = self._rests, []
        for ledger in dict.fromkeys(ledger for ledger, _ in rests):
            try:
                await ledger.give_back([rest for owner, rest in rests if owner is ledger])
            except GatewayError as error:
                self._failed(error)
                self._rests += [each for each in rests if each[0] is ledger]

    async def _return_aside(self) -> None:
        try:
            await self._return()
        finally:
            self._returning = False

    async def _mind(self) -> None:
        """Close leases at their end, as long as there are any; on time, also while a ledger is slow to take what is left of others."""
        try:
            while self._leases or self._rests or self._returning:
                await asyncio.sleep(CLOSE)
                now = self._clock()
                while self._due and self._due[0][0] <= now:
                    until, place = heappop(self._due)
                    if place in self._leases and self._leases[place].until == until:
                        self._close(place)
                self.figures.leases = len(self._leases)
                if self._rests and not self._returning and now >= self._retry:
                    self._returning = True
                    self._start(self._return_aside())
        finally:
            self._minding = False


def _us(seconds: float) -> int:
    return int(seconds * 1_000_000)
