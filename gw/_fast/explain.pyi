"""The engine of live traffic asked about one head, offline and with a trace."""

from collections.abc import Callable
from typing import NotRequired, TypedDict, type_check_only

from gw._fast.selector import Selector
from gw._fast.snapshot import Snapshot

@type_check_only
class _Decision(TypedDict):
    """`reason` and `status` are "" and 0 unless the request is refused; `route` is negative when none took it."""

    reason: str
    status: int
    detail: str
    route: int
    host: str
    path: str
    prefix_len: int
    params: list[str]
    client: str
    key: NotRequired[tuple[bool, bytes]]

def explain(snapshot: Snapshot, head: bytes, client: str, secure: bool, trace: Callable[[int, str], None] | None, selector: Selector | None = None) -> _Decision:
    """What the snapshot decides for this head. `trace(route, text)` is called for every route considered. ValueError when the bytes are not one whole head.

    With a selector also `key`: whether all of its parts are there, and their hash under a seed of zeros.
    """
