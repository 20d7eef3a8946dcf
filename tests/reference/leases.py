"""What docs/leases.md promises of units that were spent, checked the slow way: over every span between two of them."""

from __future__ import annotations

from fractions import Fraction

Spent = list[tuple[int, int]]  # (microseconds, units), in any order


def most_over_rate(spent: Spent, units: int, us: int, burst: int, lease: int) -> Fraction:
    """By how many units the busiest span is over burst + rate * (span + lease); at most 0 where the promise is kept."""
    ordered, most = sorted(spent), Fraction(0)
    for place, (begin, _) in enumerate(ordered):
        total = 0
        for end, more in ordered[place:]:
            total += more
            most = max(most, Fraction((total - burst) * us - units * (end - begin + lease), us))
    return most


def most_in_window(spent: Spent, us: int) -> int:
    """Units in the fullest window of this length; its begin belongs to it, its end does not."""
    return max((between(spent, end - us + 1, end) for end, _ in spent), default=0)


def between(spent: Spent, begin: int, end: int) -> int:
    """Units of both ends and what lies between."""
    return sum(units for at, units in spent if begin <= at <= end)
