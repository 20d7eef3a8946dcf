"""Ledgers on this machine: the store's file, for quotas; memory, for when the ledger of a limit is away, and for rates too.

What is counted stands under a period. A calendar period is known by its first second. A rolling one is cut into buckets; a grant counts in the bucket in which its
lease ends, so in one that is not older than any of its units, however late they are spent: when the bucket has left the window, all of them have.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec
from msgspec import Struct

from gw.store.clerk import Clerk
from gw.store.database import connect, told
from gw.store.ledger import Ask, Calendar, Grant, Meter, Rest
from gw.store.period import bucket_us, calendar_bounds

if TYPE_CHECKING:
    from collections.abc import Iterator

MICRO = 1_000_000
BUSY = 0.5  # seconds to wait for another process that writes: requests wait for a second at most
PRUNE = 600.0  # seconds between two times that old rows are deleted
PRUNE_ROWS = 2000  # deleted at once

TABLE = """CREATE TABLE IF NOT EXISTS usage (
    quota TEXT NOT NULL, window TEXT NOT NULL, key TEXT NOT NULL, period INTEGER NOT NULL, units INTEGER NOT NULL, most INTEGER NOT NULL, ends REAL NOT NULL,
    PRIMARY KEY (quota, window, key, period)
) STRICT, WITHOUT ROWID"""
INDEX = "CREATE INDEX IF NOT EXISTS usage_ends ON usage (ends)"


def window_of(meter: Meter) -> str:
    """What a meter counts by time, as it stands in the store: the limit is no part of it, so that one that is raised goes on counting."""
    return f"{meter.calendar} {meter.zone}" if meter.calendar else f"rolling {meter.us // MICRO}s" if meter.us % MICRO == 0 else f"rolling {meter.us}us"


def meter_of(name: str, window: str, *, shared: bool) -> Meter:
    """The quota that `window_of` gives this window for, but for its limit."""
    kind, _, rest = window.partition(" ")
    if kind == "rolling":
        return Meter(name, 0, us=int(rest[:-2]) if rest.endswith("us") else int(rest[:-1]) * MICRO, shared=shared)
    return Meter(name, 0, calendar=msgspec.convert(kind, Calendar), zone=rest, shared=shared)


class Counted(Protocol):
    """Units of one meter and key by period."""

    def read(self, meter: Meter, key: str, since: int) -> list[tuple[int, int]]:
        """Periods not before `since`, oldest first, with the units of each."""


class Rows(Counted, Protocol):
    """Those that more can be counted in."""

    def add(self, meter: Meter, key: str, period: int, units: int, ends: float) -> None:
        """More units of a period, or fewer; `ends`: seconds since 1970 when it counts no longer."""


def grant(rows: Rows, ask: Ask, lease: float, now: float) -> Grant:
    """Units of a quota, counted in `rows`."""
    return _calendar(rows, ask, lease, now) if ask.meter.calendar else _rolling(rows, ask, lease, now)


def _calendar(rows: Rows, ask: Ask, lease: float, now: float) -> Grant:
    meter = ask.meter
    assert meter.calendar
    begin, end = calendar_bounds(meter.calendar, meter.zone, now)
    left = max(0, meter.units - sum(units for period, units in rows.read(meter, ask.key, begin) if period == begin))
    units = min(ask.units, left)
    if units == 0:
        return Grant(0, 0, end - now)
    rows.add(meter, ask.key, begin, units, end)
    return Grant(units, left - units, min(lease, end - now), begin)


def _rolling(rows: Rows, ask: Ask, lease: float, now: float) -> Grant:
    meter = ask.meter
    width = bucket_us(meter)
    now_us = int(now * MICRO)
    oldest = (now_us - meter.us) // width  # the bucket that ends after the window begins
    counted = rows.read(meter, ask.key, oldest)
    left = max(0, meter.units - sum(units for _, units in counted))
    units = min(ask.units, left)
    if units == 0:
        first = next((period for period, units in counted if units), oldest)
        return Grant(0, 0, max(((first + 1) * width + meter.us - now_us) / MICRO, 0.001))
    period = int((now + lease) * MICRO) // width
    rows.add(meter, ask.key, period, units, ((period + 1) * width + meter.us) / MICRO)
    return Grant(units, left - units, lease, period)


class Dict:
    """Rows in memory, on top of those of somebody else."""

    def __init__(self, below: Counted | None = None) -> None:
        self._below = below
        self.counted: dict[tuple[str, str, str], dict[int, list[float]]] = {}

    def read(self, meter: Meter, key: str, since: int) -> list[tuple[int, int]]:
        """See Rows."""
        found = {period: int(units) for period, (units, _) in self.counted.get((meter.name, window_of(meter), key), {}).items() if period >= since}
        for period, units in self._below.read(meter, key, since) if self._below else []:
            found[period] = found.get(period, 0) + units
        return sorted(found.items())

    def add(self, meter: Meter, key: str, period: int, units: int, ends: float) -> None:
        """See Rows."""
        row = self.counted.setdefault((meter.name, window_of(meter), key), {}).setdefault(period, [0, ends])
        row[0] = max(0, row[0] + units)

    def prune(self, now: float) -> None:
        """Forget what counts no longer."""
        for name, periods in list(self.counted.items()):
            for period in [period for period, (_, ends) in periods.items() if ends <= now]:
                del periods[period]
            if not periods:
                del self.counted[name]


class MemoryLedger:
    """A Ledger that forgets everything at the end of its process. `clock` gives seconds since 1970; what stands in `counted` counts too, and stays as it is."""

    def __init__(self, clock: Callable[[], float] = time.time, counted: Counted | None = None) -> None:
        self._clock = clock
        self._rows = Dict(counted)
        self._full: dict[tuple[str, str, str], int] = {}  # by meter and key: when the bucket of a rate is full again, in microseconds * its rate
        self._pruned = clock()

    def __repr__(self) -> str:
        return f"<MemoryLedger {len(self._rows.counted) + len(self._full)} keys>"

    async def take(self, asks: list[Ask], lease: float) -> list[Grant]:
        """See Ledger; never fails."""
        return self.take_now(asks, lease)

    def take_now(self, asks: list[Ask], lease: float) -> list[Grant]:
        """As take, for who cannot wait."""
        now = self._clock()
        if now >= self._pruned + PRUNE:
            self._pruned = now
            self._rows.prune(now)
        return [self._of_rate(ask, lease, now) if ask.meter.burst else grant(self._rows, ask, lease, now) for ask in asks]

    async def give_back(self, rests: list[Rest]) -> None:
        """See Ledger. Units of a rate come back as time goes by, and are not given back."""
        for rest in rests:
            if not rest.meter.burst:
                self._rows.add(rest.meter, rest.key, rest.period, -rest.units, 0.0)

    async def close(self) -> None:
        """Nothing to give back."""

    def _of_rate(self, ask: Ask, lease: float, now: float) -> Grant:
        """GCRA in whole numbers: a unit is meter.us wide, a microsecond meter.units."""
        meter, name = ask.meter, (ask.meter.name, window_of(ask.meter), ask.key)
        now_us = int(now * MICRO) * meter.units
        full = max(self._full.get(name, 0), now_us)
        room = max(0, (now_us + meter.burst * meter.us - full) // meter.us)
        units = min(ask.units, room)
        if units == 0:
            return Grant(0, 0, (full + meter.us - meter.burst * meter.us - now_us) / meter.units / MICRO)
        self._full[name] = full + units * meter.us
        return Grant(units, room - units, lease)


class Line(Struct, frozen=True):
    """Usage of one key in one period, or in the window of a rolling quota that ends now. Times are seconds since 1970."""

    quota: str
    key: str
    window: str
    used: int  # granted: what leases still hold is among it
    limit: int
    resets: float  # when all of it has come back
    store: Literal["file", "redis"] = "file"  # where it is counted


class Usage:
    """What the store's file has counted; nothing is written or made. `clock` gives seconds since 1970. Every method raises GatewayError when the file cannot be read."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        self.file = file
        self._clock = clock
        self._connection: sqlite3.Connection | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.file}>"

    def read(self, meter: Meter, key: str, since: int) -> list[tuple[int, int]]:
        """See Counted."""
        statement = "SELECT period, units FROM usage WHERE quota = ? AND window = ? AND key = ? AND period >= ? ORDER BY period"
        with told(self.file):
            connection = self._open()
            return list(connection.execute(statement, (meter.name, window_of(meter), key, since))) if connection else []

    def lines(self) -> list[Line]:
        """What is counted now, of every key, by quota and key."""
        statement = """SELECT quota, key, window, sum(units), max(most), max(ends) FROM usage WHERE ends > ? AND units > 0
            GROUP BY quota, window, key ORDER BY quota, key, window"""
        with told(self.file):
            connection = self._open()
            return [Line(*row) for row in connection.execute(statement, (self._clock(),))] if connection else []

    def end(self) -> None:
        """Give the connection back; the next call opens another one."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection | None:
        """None where nothing was ever counted."""
        if self._connection is None and self.file.exists():
            connection = sqlite3.connect(f"{self.file.resolve().as_uri()}?mode=ro", uri=True)
            try:
                there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'usage'").fetchone()
            except sqlite3.Error:
                connection.close()
                raise
            if there is None:
                connection.close()
                return None
            self._connection = connection
        return self._connection


class UsageFile(Usage):
    """The same, counting in it. For one thread: the one that calls first."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        super().__init__(file, clock)
        self._pruned = 0.0

    def take(self, asks: list[Ask], lease: float) -> list[Grant]:
        """See Ledger. Raises GatewayError."""
        now = self._clock()
        with self._transaction():
            self._prune(now)
            return [grant(self, ask, lease, now) for ask in asks]

    def give_back(self, rests: list[Rest]) -> None:
        """See Ledger. Raises GatewayError."""
        with self._transaction() as connection:
            for rest in rests:
                values = (rest.units, rest.meter.name, window_of(rest.meter), rest.key, rest.period)
                connection.execute("UPDATE usage SET units = max(0, units - ?) WHERE quota = ? AND window = ? AND key = ? AND period = ?", values)

    def add(self, meter: Meter, key: str, period: int, units: int, ends: float) -> None:
        """See Rows."""
        statement = """INSERT INTO usage (quota, window, key, period, units, most, ends) VALUES (?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT DO UPDATE SET units = units + excluded.units, most = excluded.most"""
        self._open().execute(statement, (meter.name, window_of(meter), key, period, units, meter.units, ends))

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = connect(self.file)
            try:
                for statement in (f"PRAGMA busy_timeout = {int(BUSY * 1000)}", "PRAGMA synchronous = NORMAL", TABLE, INDEX):
                    connection.execute(statement)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with told(self.file):
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _prune(self, now: float) -> None:
        if now >= self._pruned + PRUNE:
            done = self._open().execute(
                "DELETE FROM usage WHERE (quota, window, key, period) IN (SELECT quota, window, key, period FROM usage WHERE ends <= ? LIMIT ?)", (now, PRUNE_ROWS)
            )
            self._pruned = now if done.rowcount < PRUNE_ROWS else self._pruned


class UsageLedger:
    """A Ledger on the store's file: quotas that survive a restart. A thread of its own does the work: while the disk is slow, only who asks this ledger waits.

    A commit is written to the file, not flushed to the disk: what was granted in the last moments before a power cut, not before a crash of gw, is forgotten.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        """Opens nothing yet. `clock` gives seconds since 1970."""
        self._rows = UsageFile(file, clock)
        self._clerk = Clerk("usage")

    def __repr__(self) -> str:
        return f"<UsageLedger {self._rows.file}>"

    async def take(self, asks: list[Ask], lease: float) -> list[Grant]:
        """See Ledger; in the order of the calls. Raises GatewayError. Who is cancelled has been granted all the same, and cannot know what."""
        return await self._clerk.do(partial(self._rows.take, asks, lease))

    async def give_back(self, rests: list[Rest]) -> None:
        """See Ledger. Raises GatewayError."""
        await self._clerk.do(partial(self._rows.give_back, rests))

    async def close(self) -> None:
        """See Ledger. It may be used again."""
        await self._clerk.do(self._rows.end)
        self._clerk.dismiss()
