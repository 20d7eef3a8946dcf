"""How many requests are in flight at once, as a step of a plan: counted in the shared segment, given back whatever way the exchange ends."""

from typing import final

from gw._fast.limit import LimitStep
from gw._fast.shm import Segment

@final
class ConcurrencyStep(LimitStep):
    """Refuses with 429 `too-many-in-flight` while `most` exchanges of a key are open. `identity` and errors as gw._fast.rate.RateStep."""

    def __init__(self, name: str, segment: Segment, by: list[str], *, identity: bytes, missing: str, closed: bool, dry: bool, most: int) -> None: ...
