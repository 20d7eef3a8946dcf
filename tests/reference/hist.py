"""Durations kept one by one: what gw._fast.hist estimates, exactly."""

from __future__ import annotations

HOUR_US = 3_600_000_000


class Durations:
    def __init__(self) -> None:
        self.values: list[int] = []

    def add(self, us: int) -> None:
        self.values.append(min(us, HOUR_US))

    def quantile(self, q: float) -> int:
        return sorted(self.values)[int(q * (len(self.values) - 1))] if self.values else 0

    def below(self, us: int) -> int:
        return sum(value < us for value in self.values)
