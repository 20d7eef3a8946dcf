"""Rate limits and queues as steps of a plan: GCRA cells of the shared segment, what clients are told of them."""

from typing import final

from gw._fast.limit import LimitStep
from gw._fast.shm import Segment

@final
class RateStep(LimitStep):
    """Refuses with 429 `rate-limited` what has no room in every window.

    `identity` names the limit: equal ones count together, in all processes and revisions. `windows` are (label, rate, period in us, burst);
    `cost` is what a request takes; `tells` sends RateLimit and RateLimit-Policy. ValueError for no or more than eight windows, for what a
    window cannot keep, and when the segment has no cells.
    """

    def __init__(
        self,
        name: str,
        segment: Segment,
        by: list[str],
        *,
        identity: bytes,
        missing: str,
        closed: bool,
        dry: bool,
        windows: list[tuple[str, int, int, int]],
        cost: int,
        tells: bool,
    ) -> None: ...

@final
class Lines:
    """Who waits in one worker: the throttles of a snapshot share one."""

@final
class ThrottleStep(LimitStep):
    """Lets requests wait for their turn: `burst` pass at once, `places` may wait, others are refused with 429 `rate-limited`. Errors as RateStep.

    Steps that share `lines` and count together are one queue: who waits in it moves up when one in front of it leaves.
    """

    def __init__(
        self,
        name: str,
        segment: Segment,
        by: list[str],
        *,
        identity: bytes,
        missing: str,
        closed: bool,
        dry: bool,
        rate: int,
        per_us: int,
        burst: int,
        places: int,
        lines: Lines,
    ) -> None: ...
