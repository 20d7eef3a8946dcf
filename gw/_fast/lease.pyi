"""Leases: units of a limit that a ledger granted to this node. Keys are 16 bytes, as `Leases.key` or a step makes them.

Times are microseconds on CLOCK_MONOTONIC, and no older than half a second when they are given. ValueError for keys of another length, and for units that are not
from 1 to 65536.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, final

from gw._fast.shm import Segment

VERDICTS: Final[tuple[str, ...]]
"""`pass`, `refuse`, `full`, `wait` (units are on their way), and `away` (refused because the ledger is away)."""

class Spent(NamedTuple):
    """Whether the caller has to ask for more, units left, and the time until there is something to be had where it is refused."""

    verdict: str
    asks: bool
    units: int
    retry_us: int

@final
class Leases:
    """Leases in the segment's cells. ValueError when it has none."""

    def __new__(cls, segment: Segment, identity: bytes = b"") -> Leases: ...
    def key(self, text: bytes) -> bytes:
        """Of a lease of this identity."""

    def take(self, key: bytes, cost: int, now_us: int) -> Spent: ...
    def take_all(self, keys: Sequence[bytes], cost: int, now_us: int) -> tuple[str, list[tuple[bool, int, int]]]:
        """Of every lease or of none: the verdict, and the figures of each as in Spent. ValueError for more than eight."""

    def give_back(self, key: bytes, cost: int, now_us: int) -> None:
        """Units of a take that was not used; without effect where the lease has ended since."""

    def ask_anew(self, key: bytes) -> None:
        """Nothing came of asking: the next take asks again."""

    def read(self, key: bytes, now_us: int) -> tuple[int, int | None]:
        """Units left, and what the ledger had left at the grant."""

    def grant(self, key: bytes, units: int, low: int, until_us: int, now_us: int) -> int | None:
        """A new lease; how many units of the one before were not spent, or None when there is no cell. `low`: ask when fewer than 2 ** (low - 1) are left; 0: at none."""

    def refuse(self, key: bytes, want: int, away: bool, until_us: int, retry_us: int, now_us: int) -> int:
        """Nothing until `until_us`; clients are told to come back `retry_us` from now. Units taken out; while there are `want`, they stay and are spent first."""

    def close(self, key: bytes) -> int:
        """Units that were not spent: they are no longer there."""

    def tally(self, key: bytes, left: int, until_us: int, now_us: int) -> None:
        """What the ledger has left, worth telling until then."""

def _repeat(leases: Leases, key: bytes, times: int, now_us: int = 0) -> int: ...
