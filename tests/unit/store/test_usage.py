"""Ledgers on this machine, under a clock that the test sets: what they grant is what a slow count allows, through restarts and changes of clocks."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gw.errors import GatewayError
from gw.store import Ask, Grant, Ledger, MemoryLedger, Meter, Rest, Usage, UsageLedger, calendar_bounds
from gw.store.ledger import Calendar
from tests.reference.usage import keeps_rate, keeps_rolling

LEASE = 10.0
HOUR = 3600.0
BEGIN = 1_772_000_000.0

# What happens: seconds later, one of two keys wants units, spends part of the grant right then, part as late as it may, and gives the rest back.
steps = st.lists(st.tuples(st.floats(0, 900), st.sampled_from("ab"), st.integers(1, 30), st.integers(0, 30), st.booleans(), st.booleans()), max_size=40)


class Clock:
    def __init__(self, now: float = BEGIN) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Made:
    """A ledger that is made anew where the test says so; one in memory forgets then, so it stays."""

    def __init__(self, kind: str, folder: str) -> None:
        self.clock = Clock()
        self.kind = kind
        self.file = Path(folder) / "gw.db"
        self._loop = asyncio.Runner()
        self.ledger: Ledger = self._make()

    def _make(self) -> Ledger:
        return UsageLedger(self.file, self.clock) if self.kind == "file" else MemoryLedger(self.clock)

    def restart(self) -> None:
        if self.kind == "file":
            self._loop.run(self.ledger.close())
            self.ledger = self._make()

    def take(self, meter: Meter, key: str, units: int, lease: float = LEASE) -> Grant:
        return self._loop.run(self.ledger.take([Ask(meter, key, units)], lease))[0]

    def give_back(self, meter: Meter, key: str, units: int, period: int) -> None:
        self._loop.run(self.ledger.give_back([Rest(meter, key, units, period)]))

    def close(self) -> None:
        self._loop.run(self.ledger.close())
        self._loop.close()


@pytest.fixture(params=["file", "memory"])
def made(request: Any, tmp_path: Path) -> Any:
    made = Made(request.param, str(tmp_path))
    yield made
    made.close()


def run(kind: str, meter: Meter, taken: list[Any]) -> dict[str, list[tuple[float, int]]]:
    """What was spent, by key."""
    spent: dict[str, list[tuple[float, int]]] = {"a": [], "b": []}
    with TemporaryDirectory() as folder:
        made = Made(kind, folder)
        for later, key, wanted, most, late, restart in taken:
            made.clock.now += later
            if restart:
                made.restart()
            got = made.take(meter, key, wanted)
            assert got.units <= wanted
            used = min(most, got.units)
            spent[key].append((made.clock.now + (got.seconds if late and used else 0.0), used))
            if got.units > used:
                made.give_back(meter, key, got.units - used, got.period)
        made.close()
    return spent


@pytest.mark.parametrize("kind", ["file", "memory"])
@given(st.integers(1, 60), st.sampled_from([60, 600, 3600, 86_400]), steps)
@settings(deadline=None)  # how fast the disk is does not matter here
def test_no_rolling_window_ever_holds_more_than_the_limit(kind: str, limit: int, seconds: int, taken: list[Any]) -> None:
    for spent in run(kind, Meter("q", limit, us=seconds * 1_000_000), taken).values():
        assert keeps_rolling(spent, limit, seconds)


@pytest.mark.parametrize("kind", ["file", "memory"])
@given(st.integers(1, 60), st.sampled_from(["hour", "day"]), steps)
@settings(deadline=None)  # how fast the disk is does not matter here
def test_no_calendar_period_holds_more_than_the_limit(kind: str, limit: int, calendar: Calendar, taken: list[Any]) -> None:
    for spent in run(kind, Meter("q", limit, calendar=calendar), taken).values():
        begins = {at: calendar_bounds(calendar, "UTC", at - 1e-6)[0] for at, _ in spent}
        for begin in begins.values():
            assert sum(units for at, units in spent if begins[at] == begin) <= limit


@given(st.integers(1, 50), st.sampled_from([1_000, 1_000_000, 60_000_000]), st.integers(1, 40), steps)
def test_grants_of_a_rate_are_a_token_buckets(units: int, us: int, burst: int, taken: list[Any]) -> None:
    clock, meter = Clock(), Meter("r", units, us=us, burst=burst)
    ledger = MemoryLedger(clock)
    granted = []
    for later, _, wanted, *_ in taken:
        clock.now += later / 100
        (got,) = ledger.take_now([Ask(meter, "k", wanted)], 1.0)
        granted.append((clock.now, got.units))
        if got.units == 0:
            clock.now += got.seconds + 1e-5
            assert ledger.take_now([Ask(meter, "k", 1)], 1.0)[0].units == 1
            granted.append((clock.now, 1))
    assert keeps_rate(granted, units, us, burst)


def test_a_limit_is_granted_to_the_last_unit_and_says_when_there_is_more(made: Made) -> None:
    meter = Meter("q", 10, calendar="hour")
    made.clock.now = 7 * HOUR + 600
    assert made.take(meter, "k", 7) == Grant(7, 3, LEASE, int(7 * HOUR))
    assert made.take(meter, "k", 7) == Grant(3, 0, LEASE, int(7 * HOUR))
    assert made.take(meter, "k", 1) == Grant(0, 0, 3000.0)
    made.clock.now = 8 * HOUR - 4
    made.give_back(meter, "k", 2, int(7 * HOUR))
    assert made.take(meter, "k", 5) == Grant(2, 0, 4.0, int(7 * HOUR)), "no unit may be spent in the next hour"
    made.clock.now = 8 * HOUR
    assert made.take(meter, "k", 5).left == 5
    made.give_back(meter, "k", 2, int(7 * HOUR))
    assert made.take(meter, "k", 9).units == 5, "what an hour that is over gets back is no gain"


def test_what_rolls_out_comes_back(made: Made) -> None:
    meter = Meter("q", 10, us=3_600_000_000)
    assert made.take(meter, "k", 6).units == 6
    made.clock.now += 1800
    assert made.take(meter, "k", 6).units == 4
    refused = made.take(meter, "k", 6)
    assert refused.units == 0
    assert 1800 - LEASE <= refused.seconds <= 1800 + 60 + LEASE
    made.clock.now += refused.seconds
    assert made.take(meter, "k", 9).units == 6


def test_meters_keys_and_windows_count_for_themselves_and_a_raised_limit_goes_on(made: Made) -> None:
    day = Meter("q", 5, calendar="day")
    assert made.take(day, "k", 5).left == 0
    for meter, key in ((day, "other"), (Meter("p", 5, calendar="day"), "k"), (Meter("q", 5, calendar="month"), "k"), (Meter("q", 5, us=86_400_000_000), "k")):
        assert made.take(meter, key, 5).units == 5
    assert made.take(Meter("q", 8, calendar="day"), "k", 5).units == 3
    assert made.take(Meter("q", 2, calendar="day"), "k", 5).units == 0


@pytest.mark.parametrize(
    ("calendar", "zone", "now", "begin", "end"),
    [
        ("day", "UTC", "2026-03-05T12:00", "2026-03-05T00:00", "2026-03-06T00:00"),
        ("day", "Europe/Berlin", "2026-03-29T12:00", "2026-03-29T00:00", "2026-03-30T00:00"),
        ("week", "Europe/Berlin", "2026-03-29T23:59", "2026-03-23T00:00", "2026-03-30T00:00"),
        ("month", "America/New_York", "2024-02-29T23:59", "2024-02-01T00:00", "2024-03-01T00:00"),
        ("month", "UTC", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("hour", "Asia/Kolkata", "2026-03-05T12:59", "2026-03-05T12:00", "2026-03-05T13:00"),
        ("day", "Asia/Beirut", "2026-03-29T12:00", "2026-03-29T01:00", "2026-03-30T00:00"),
    ],
)
def test_periods_end_by_the_clock_on_the_wall(calendar: Calendar, zone: str, now: str, begin: str, end: str) -> None:
    first, now_s, after = (datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() for text in (begin, now, end))
    assert calendar_bounds(calendar, zone, now_s) == (first, after)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-24", 24)])
def test_a_day_in_which_clocks_change_is_as_long_as_it_is(day: str, hours: int) -> None:
    noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    begin, end = calendar_bounds("day", "Europe/Berlin", noon)
    assert end - begin == hours * HOUR


ZONES = ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Asia/Beirut"]


@given(st.sampled_from(["hour", "day", "week", "month"]), st.sampled_from(ZONES), st.integers(0, 2**32))
def test_periods_follow_each_other_without_a_gap(calendar: Calendar, zone: str, now: int) -> None:
    begin, end = calendar_bounds(calendar, zone, now)
    assert begin <= now < end
    assert calendar_bounds(calendar, zone, end)[0] == end
    assert calendar_bounds(calendar, zone, begin - 1)[1] == begin


def test_rows_that_count_no_longer_go(tmp_path: Path) -> None:
    clock = Clock()
    ledger = UsageLedger(tmp_path / "gw.db", clock)

    def take(meter: Meter) -> int:
        return asyncio.run(ledger.take([Ask(meter, "k", 1)], LEASE))[0].units

    def rows() -> int:
        with sqlite3.connect(tmp_path / "gw.db") as connection:
            found: int = connection.execute("SELECT count(*) FROM usage").fetchone()[0]
        connection.close()
        return found

    for _ in range(30):
        assert take(Meter("q", 1000, us=3_600_000_000)) + take(Meter("q", 1000, calendar="hour")) == 2
        clock.now += HOUR / 2
    assert rows() < 10
    asyncio.run(ledger.close())


def test_lines_say_what_is_counted_now(tmp_path: Path) -> None:
    clock = Clock(7 * HOUR)
    ledger = UsageLedger(tmp_path / "gw.db", clock)
    usage = Usage(tmp_path / "gw.db", clock)
    assert usage.lines() == []
    asyncio.run(ledger.take([Ask(Meter("q", 10, calendar="hour"), "b", 4), Ask(Meter("q", 10, calendar="hour"), "a", 1)], LEASE))
    asyncio.run(ledger.take([Ask(Meter("q", 20, calendar="hour"), "b", 1)], LEASE))
    assert [(line.quota, line.key, line.window, line.used, line.limit, line.resets) for line in usage.lines()] == [
        ("q", "a", "hour UTC", 1, 10, 8 * HOUR),
        ("q", "b", "hour UTC", 5, 20, 8 * HOUR),
    ]
    clock.now = 8 * HOUR
    assert usage.lines() == []
    usage.end()
    asyncio.run(ledger.close())


def damaged(file: Path) -> None:
    file.write_bytes(b"no database" * 100)


def busy(file: Path) -> sqlite3.Connection:
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


@pytest.mark.parametrize("harm", [damaged, busy])
def test_a_file_that_cannot_be_used_is_told_in_a_sentence_and_nothing_is_granted(tmp_path: Path, harm: Callable[[Path], Any]) -> None:
    file = tmp_path / "gw.db"
    held = harm(file)
    ledger = UsageLedger(file)
    for _ in range(2):
        with pytest.raises(GatewayError, match=f"^store {file}: "):
            asyncio.run(ledger.take([Ask(Meter("q", 1, calendar="day"), "k", 1)], LEASE))
    if held:
        held.execute("ROLLBACK")
        held.close()
        assert asyncio.run(ledger.take([Ask(Meter("q", 1, calendar="day"), "k", 1)], LEASE))[0].units == 1
    asyncio.run(ledger.close())


def test_two_nodes_on_one_file_share_the_limit(tmp_path: Path) -> None:
    meter = Meter("q", 100, calendar="day")
    nodes = [UsageLedger(tmp_path / "gw.db", Clock()) for _ in range(2)]
    granted = [asyncio.run(node.take([Ask(meter, "k", 7)], LEASE))[0].units for node, _ in itertools.product(nodes, range(20))]
    assert sum(granted) == 100
    for node in nodes:
        asyncio.run(node.close())
