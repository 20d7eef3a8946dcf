"""Log-linear histograms of durations, 1 us to 1 h, within 6.25 %."""

from collections.abc import Iterable
from typing import final

@final
class Histogram:
    """Durations in microseconds. Longer ones than an hour count as an hour."""

    def add(self, us: int) -> None: ...
    def merge(self, other: Histogram) -> None: ...
    def quantile(self, q: float) -> int:
        """The duration in microseconds at rank floor(q * (count - 1)), within 6.25 %; 0 when empty. ValueError unless 0 <= q <= 1."""

    def cumulative(self, edges: Iterable[int]) -> list[int]:
        """For every edge, an ascending bucket index at most the number of buckets, the count of durations below it."""

    @property
    def count(self) -> int: ...
    @property
    def sum_us(self) -> int:
        """Exact sum of the durations in microseconds."""

def nearest_edge(us: int) -> int:
    """Index of the bucket that begins nearest to `us`: the bound is off by at most 6.25 %."""

def lower(index: int) -> int:
    """Least duration in microseconds that falls into a bucket. IndexError beyond the last."""

def _repeat(h: Histogram, us: int, times: int) -> None: ...
