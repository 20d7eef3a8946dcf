"""Periods in which a ledger counts: of the calendar, or the buckets of a rolling one. Seconds since 1970."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from gw.store.ledger import Calendar, Meter

HOUR = 3600
BUCKETS = 60  # of a rolling period: what is counted comes back one bucket late at most


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def calendar_bounds(calendar: Calendar, zone: str, now: float) -> tuple[int, int]:
    """Beginning and end of the period that `now` is in, by the clock on the wall there: a day in which clocks change has 23 or 25 hours."""
    place = _zone(zone)
    if calendar == "hour":
        local = datetime.fromtimestamp(now, place)
        offset = int((local.utcoffset() or timedelta()).total_seconds()) % HOUR
        begin = int(now + offset) // HOUR * HOUR - offset
        return begin, begin + HOUR
    today = datetime.fromtimestamp(now, place).date()
    first, after = _days(calendar, today)
    return _midnight(first, place), _midnight(after, place)


def _days(calendar: Calendar, today: date) -> tuple[date, date]:
    if calendar == "month":
        first = today.replace(day=1)
        return first, (first + timedelta(days=31)).replace(day=1)
    if calendar == "week":
        first = today - timedelta(days=today.weekday())
        return first, first + timedelta(days=7)
    return today, today + timedelta(days=1)


def _midnight(day: date, place: ZoneInfo) -> int:
    """The first second of the day: where clocks skip midnight it is the one after the gap."""
    naive = datetime.combine(day, time(), place)
    return int(naive.astimezone(UTC).timestamp())


def bucket_us(meter: Meter) -> int:
    """Width of the buckets of a rolling period, in microseconds."""
    return max(1, -(-meter.us // BUCKETS))
