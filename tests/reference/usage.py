"""What any ledger must keep, however it counts: of grants and of when their units may be spent."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction


def keeps_rolling(spent: Iterable[tuple[float, int]], limit: int, length: float) -> bool:
    """Whether no window of this length, ends included, holds more units than the limit; a window that does has one that begins with something spent."""
    listed = sorted(spent)
    return all(sum(units for at, units in listed if begin <= at <= begin + length) <= limit for begin, _ in listed)


def keeps_rate(granted: Iterable[tuple[float, int]], units: int, us: int, burst: int) -> bool:
    """Whether every span of time holds at most burst + rate * span of the grants."""
    level, before = Fraction(0), None
    for at, taken in granted:
        now = Fraction(int(at * 1_000_000))
        level = max(Fraction(0), level - (now - before) * Fraction(units, us)) if before is not None else Fraction(0)
        level += taken
        before = now
        if level > burst:
            return False
    return True
