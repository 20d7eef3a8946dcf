"""Calendar periods: where they begin and end in zones whose clocks change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw.store import Calendar, calendar_bounds

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Sao_Paulo", "Pacific/Apia", "Africa/Cairo", "Australia/Sydney"]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("calendar", "zone", "instant", "begin", "end"),
    [
        ("hour", "UTC", "2026-03-01T10:59:59", "2026-03-01T10:00", "2026-03-01T11:00"),
        ("hour", "Asia/Kolkata", "2026-03-01T10:20", "2026-03-01T09:30", "2026-03-01T10:30"),
        ("day", "UTC", "2026-03-01T00:00", "2026-03-01T00:00", "2026-03-02T00:00"),
        ("day", "Europe/Berlin", "2026-03-01T23:30", "2026-03-01T23:00", "2026-03-02T23:00"),
        ("day", "Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),  # 23 hours
        ("day", "Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25 hours
        ("day", "America/Sao_Paulo", "2018-11-04T12:00", "2018-11-04T03:00", "2018-11-05T02:00"),  # no midnight: 00:00 became 01:00
        ("week", "UTC", "2026-03-01T12:00", "2026-02-23T00:00", "2026-03-02T00:00"),  # a Sunday
        ("week", "UTC", "2026-03-02T00:00", "2026-03-02T00:00", "2026-03-09T00:00"),  # a Monday
        ("month", "UTC", "2028-02-29T12:00", "2028-02-01T00:00", "2028-03-01T00:00"),
        ("month", "America/New_York", "2026-01-01T04:59", "2025-12-01T05:00", "2026-01-01T05:00"),
    ],
)
def test_periods(calendar: Calendar, zone: str, instant: str, begin: str, end: str) -> None:
    assert calendar_bounds(calendar, zone, at(instant)) == (at(begin), at(end))


@given(st.sampled_from(["hour", "day", "week", "month"]), st.sampled_from(ZONES), st.floats(0, 4e9))
def test_every_instant_lies_in_one_period_and_periods_follow_each_other(calendar: Calendar, zone: str, instant: float) -> None:
    begin, end = calendar_bounds(calendar, zone, instant)
    assert begin <= instant < end
    assert calendar_bounds(calendar, zone, begin) == (begin, end) == calendar_bounds(calendar, zone, end - 0.001)
    assert calendar_bounds(calendar, zone, end)[0] == end
