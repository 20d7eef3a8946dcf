"""Which endpoint an exchange goes to: smooth weighted round robin, or the less busy one."""

from collections.abc import Iterable, Sequence
from typing import final

from gw._fast.shm import Segment

MODES: dict[str, int]

@final
class Balancer:
    """Picks among endpoints given as (key, weight); the modes are those of `Service.balance`. KeyError for another mode."""

    def __new__(cls, segment: Segment, endpoints: Sequence[tuple[bytes, int]], mode: str, seed: int = 1) -> Balancer: ...
    def pick(self, now_ms: int, tried: Iterable[int] = ()) -> int:
        """Index of an endpoint that is not in `tried` and, while there is one, not down; -1 when every one with a weight was tried.

        `now_ms` is CLOCK_MONOTONIC in milliseconds. Beyond 64 endpoints, those 64 apart count as tried together.
        """

def _repeat(balancer: Balancer, times: int) -> int: ...
