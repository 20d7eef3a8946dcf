"""A snapshot compiled offline: what a worker would serve, without its sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gw.errors import ConfigError

if TYPE_CHECKING:
    from gw._fast.shm import Segment
    from gw._fast.snapshot import Snapshot
    from gw.config import Loaded


def compiled(loaded: Loaded) -> tuple[Snapshot, Segment]:
    """Compile as a worker does, with shared memory of its own that nobody shares. Raises ConfigError with places."""
    from gw._fast.shm import Segment
    from gw.runtime import compile_snapshot

    process = loaded.config.process
    segment = Segment(1, process.routes_max, process.endpoints_max, process.limit_cells)
    try:
        return compile_snapshot(loaded.config, 1, segment, loaded.base), segment
    except ConfigError as error:
        raise loaded.placed(error) from None
