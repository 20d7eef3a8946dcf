"""Rate limits (token buckets as GCRA) and numbers in flight, exact across the workers of a segment.

Times are microseconds on CLOCK_MONOTONIC, and no older than half a second when they are given: a bucket that has been full for a second may be forgotten.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, final

from gw._fast.shm import Segment

VERDICTS: Final[tuple[str, ...]]
"""`pass`, `refuse`, and `full`: there was no cell to count in, so nothing was counted."""

class Taken(NamedTuple):
    """What is left of a bucket: units that would pass now, time until it is full, time until this cost passes (0: it did; -1: never)."""

    verdict: str
    remaining: int
    reset_us: int
    retry_after_us: int

@final
class Limits:
    """Limits of one identity: the same identity and key meet the same state in every process and revision. ValueError when the segment has no cells.

    A window lets `rate` units pass every `per_us`, at most `burst` at once. ValueError for a rate below 1, and for a burst that needs more than 366 days.
    """

    def __new__(cls, segment: Segment, identity: bytes = b"") -> Limits: ...
    def take(self, key: bytes, rate: int, per_us: int, burst: int, cost: int, now_us: int) -> Taken: ...
    def peek(self, key: bytes, rate: int, per_us: int, burst: int, cost: int, now_us: int) -> Taken:
        """What `take` would say, without a change; never `full`."""

    def give_back(self) -> bool:
        """Undo the last take of this object. False when it took nothing, or when another take lies on top of it: then the charge stays."""

    def take_all(self, key: bytes, windows: Sequence[tuple[int, int, int]], cost: int, now_us: int) -> tuple[str, list[tuple[int, int, int]]]:
        """Take of every window (rate, per_us, burst) or of none: the verdict, and the figures of each window as in Taken. ValueError for more than 16."""

    def enter(self, worker: int, key: bytes, limit: int, now_us: int) -> tuple[str, int, int | None]:
        """One more in flight unless `limit` are: the verdict, how many are in flight now, and the cell to leave."""

    def leave(self, worker: int, cell: int, now_us: int) -> None:
        """The end of what `enter` let pass. IndexError when this worker has nothing in flight there."""

    def forget_worker(self, worker: int, now_us: int) -> None:
        """The worker is dead: give back what it had in flight, under every identity. Call it before its slot is filled again."""

    def occupancy(self, now_us: int) -> int:
        """Cells in use, of Segment.limit_cells, under every identity. Reads the whole table, unless nothing was ever counted in it."""

    @property
    def full(self) -> int:
        """Times that a key found no cell, under every identity."""

def _repeat(limits: Limits, key: bytes, rate: int, per_us: int, burst: int, times: int, now_us: int = 0, step_us: int = 0) -> int: ...
def _repeat_keys(limits: Limits, rate: int, per_us: int, burst: int, keys: int, times: int, now_us: int = 0, step_us: int = 0) -> int: ...
def _repeat_inflight(limits: Limits, worker: int, key: bytes, limit: int, times: int, now_us: int = 0) -> int: ...
