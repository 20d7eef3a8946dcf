"""The contract of a ledger: who counts limits that outlive a gw or are shared by several. docs/leases.md tells how its units are spent."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

Calendar = Literal["hour", "day", "week", "month"]


class Meter(Struct, frozen=True):
    """What one limit counts. Equal meters count together, on all nodes that share a ledger."""

    name: str  # readable, and the same through revisions and restarts
    units: int  # in a period
    us: int = 0  # period of a rate or of a rolling quota, in microseconds; 0: a calendar period
    burst: int = 0  # of a rate: granted at once; 0: a quota
    calendar: Calendar | None = None
    zone: str = "UTC"  # whose midnight ends a calendar period; an IANA name
    shared: bool = False  # counted where all nodes look, not in the store's file
    hidden: bool = False  # its keys may be secret, and are not told to whom they need not be; no part of what is counted


class Ask(Struct, frozen=True):
    """Units wanted for one key."""

    meter: Meter
    key: str  # readable: a consumer's name, or the parts of what is counted by
    units: int  # at least 1


class Grant(Struct, frozen=True):
    """What the ledger gives: from none to as many units as were asked for."""

    units: int
    left: int  # units that are still to be had
    seconds: float  # the grant may be spent for so long, counted from before the ask; without units: ask again after that
    period: int = 0  # the ledger's name for the period it was counted in, for giving back


class Rest(Struct, frozen=True):
    """Units of a grant that nobody spent."""

    meter: Meter
    key: str
    units: int
    period: int


class Ledger(Protocol):
    """Counts units. Every method raises GatewayError when the ledger cannot be reached; nothing is granted then."""

    async def take(self, asks: list[Ask], lease: float) -> list[Grant]:
        """One grant per ask, in order, each counted before this returns. `lease` is the longest life of a grant in seconds."""

    async def give_back(self, rests: list[Rest]) -> None:
        """Count these units as not granted, as far as their period is still counted."""

    async def close(self) -> None:
        """Give connections back."""
