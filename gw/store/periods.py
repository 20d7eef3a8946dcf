"""Calendar periods in a time zone: the hour, day, week or month that an instant lies in."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

Calendar = Literal["hour", "day", "week", "month"]
HOUR = 3600


def period_of(calendar: Calendar, zone: str, instant: float) -> tuple[int, int]:
    """Begin and end of the period that `instant` lies in, in Unix seconds; the end belongs to the next. A week begins on Monday.

    A day lasts from midnight to midnight by that zone's clocks: 23 or 25 hours where they are put forward or back.
    """
    second = math.floor(instant)
    local = datetime.fromtimestamp(second, _zone(zone))
    if calendar == "hour":
        begin = second - local.minute * 60 - local.second
        return begin, begin + HOUR
    first, last = _days(calendar, local.date())
    return _midnight(first, zone), _midnight(last, zone)


def _days(calendar: Calendar, day: date) -> tuple[date, date]:
    """The first day of a period and of the next."""
    if calendar == "day":
        return day, day + timedelta(days=1)
    if calendar == "week":
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)


def _midnight(day: date, zone: str) -> int:
    """In Unix seconds; the instant of the change where clocks pass over midnight."""
    return int(datetime(day.year, day.month, day.day, tzinfo=_zone(zone)).astimezone(UTC).timestamp())


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
