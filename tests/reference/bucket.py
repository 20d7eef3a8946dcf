"""Token buckets as GCRA in exact rational arithmetic, and the bound that whatever passed must keep."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import ceil, floor

TICKS = 4096  # in a microsecond


def exact_interval(rate: int, per_us: int) -> Fraction:
    return Fraction(per_us, rate)


def kept_interval(rate: int, per_us: int) -> Fraction:
    """Rounded up to whole ticks, as gw keeps it."""
    return Fraction(ceil(exact_interval(rate, per_us) * TICKS), TICKS)


class Bucket:
    def __init__(self, interval: Fraction, burst: int) -> None:
        self.interval = interval
        self.burst = burst
        self.full_at = Fraction(0)

    def figures(self, cost: int, now: int) -> tuple[str, int, int, int]:
        """Verdict, remaining, reset and retry-after as they would be now."""
        ahead = max(Fraction(0), self.full_at - now)
        room = self.burst * self.interval - ahead
        if cost > self.burst:
            return "refuse", floor(room / self.interval), ceil(ahead), -1
        lacking = cost * self.interval - room if cost else 0
        return "refuse" if lacking > 0 else "pass", floor(room / self.interval), ceil(ahead), max(0, ceil(lacking))

    def take(self, cost: int, now: int) -> tuple[str, int, int, int]:
        found = self.figures(cost, now)
        if found[0] == "refuse" or cost == 0:
            return found
        self.full_at = max(self.full_at, Fraction(now)) + cost * self.interval
        return self.figures(0, now)


def keeps_the_limit(passed: Iterable[tuple[int, int]], interval: Fraction, burst: int) -> bool:
    """Whether of (now, cost) that passed, in any order, every span of time [a, b] holds at most burst + (b - a) / interval."""
    full_at = Fraction(0)
    for now, cost in sorted(passed):
        full_at = max(full_at, Fraction(now)) + cost * interval
        if full_at > now + burst * interval:
            return False
    return True
