"""A limit that a ledger counts, as a step of a plan: takes from leases, asks for more, lets requests wait for an answer."""

from collections.abc import Callable
from typing import Protocol, final, type_check_only

from gw._fast.limit import LimitStep
from gw._fast.shm import Segment

@type_check_only
class Counted(Protocol):
    """A meter, as gw.store has it."""

    @property
    def name(self) -> str: ...
    @property
    def units(self) -> int: ...
    @property
    def us(self) -> int: ...
    @property
    def burst(self) -> int: ...

@final
class LeaseStep(LimitStep):
    """Refuses with 429 what its leases have no units for, and with 503 `limits-away` what nobody answers for within a second.

    `tiers` are lists of windows (meter, salt, label, units, seconds of the window or 0, whether it is a rate, end of the calendar period by the wall clock or None)
    that must all have room: the first for callers in none of the `groups`, then one for each of them. `tier_of` has a byte for each consumer: its tier. A meter
    counts what the windows of one salt take; the report `units-wanted` asks for it. ValueError for more than eight windows or 63 groups, for a cost that is not from
    1 to 65536, and when the segment has no cells.
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
        cost: int,
        tells: bool,
        away: str,
        tiers: list[list[tuple[Counted, bytes, str, int, int, bool, Callable[[float], float] | None]]],
        groups: list[str],
        tier_of: bytes,
    ) -> None: ...
    meters: list[list[Counted]]
    """Of each tier, those of its windows."""

    def wake(self) -> None:
        """Leases were written that requests may wait for."""

    @property
    def waiting(self) -> int:
        """Requests that wait for units."""
