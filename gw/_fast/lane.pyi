"""The data plane of one worker: its sockets, its pools, the snapshot it runs."""

from collections.abc import Callable
from typing import Any, TypedDict, final, type_check_only

from uvloop import Loop

from gw._fast.shm import Segment
from gw._fast.snapshot import Snapshot

@type_check_only
class _Stats(TypedDict):
    """What is open now. Pools: (connections open, connections idle) by (service, endpoint)."""

    connections: int
    exchanges: int
    buffers: int
    descriptors: int
    pools: dict[tuple[str, str], tuple[int, int]]

@final
class Lane:
    """An epoll set that hosts listeners, clients and origins, and uvloop's own once it has joined a loop; timers are inside.

    `report(event, fields)` takes what is to stand in the error log. `ask()` is called when memory grew beyond the segment's `memory_ask` of this
    worker, or would have beyond its `memory_most`. Everything here belongs to the loop's thread.
    """

    def __new__(cls, segment: Segment, worker: int, report: Callable[[str, dict[str, Any]], None], ask: Callable[[], None]) -> Lane: ...
    @property
    def segment(self) -> Segment: ...
    @property
    def worker(self) -> int: ...
    @property
    def report(self) -> Callable[[str, dict[str, Any]], None]: ...
    @property
    def ask(self) -> Callable[[], None]: ...
    @property
    def current(self) -> Snapshot: ...
    def join(self, loop: Loop) -> None:
        """Serve on this loop: from now on it waits for the lane's sockets as for its own."""

    def leave(self) -> None:
        """The loop goes on without the lane; nothing happens if it never joined."""

    def drain(self) -> None:
        """Handle what is ready, without waiting."""

    def install(self, snapshot: Snapshot) -> None:
        """New exchanges run on it; those in flight finish on theirs. Raises what building a pool can raise, before anything changed."""

    def listen(self, fd: int, listener: int) -> None:
        """Accept on a bound, listening, non-blocking socket; `listener` indexes the snapshot's listeners. Its connections keep what it is now."""

    def unlisten(self, fd: int) -> None:
        """Accept no more on it; connections it gave stay."""

    def begin_drain(self) -> None:
        """Stop accepting, close idle connections; the rest close after their answer."""

    def active(self) -> int:
        """Exchanges and tunnels still open, and connections whose first request has not come yet: their client may be sending it."""

    def shed(self, on: bool) -> None:
        """Answer new requests with 503 overloaded and let go of what can be spared, or stop doing so."""

    def abort(self) -> None:
        """Close everything that is open."""

    def reopen_log(self, fd: int) -> None:
        """Write the access log to this descriptor, which becomes the lane's. Lines already taken go to the old one, which is closed."""

    def flush_log(self) -> int:
        """Errno that keeps lines back, 0 when all are written."""

    def set_addresses(self, endpoint: bytes, addresses: list[tuple[str, int]]) -> None:
        """What a named endpoint resolves to now. Open connections are kept; idle ones to addresses that are gone age out."""

    def stats(self) -> _Stats: ...
    def close(self) -> None:
        """Give everything back. The lane cannot be used again."""
