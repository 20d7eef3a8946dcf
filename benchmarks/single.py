"""A worker without its supervisor: one process for callgrind, strace and perf. `python -m benchmarks.single CONFIG` serves the config's TCP listeners until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import uvloop

from gw._fast.lane import Lane
from gw._fast.shm import Segment
from gw.config import load, parse_bind
from gw.runtime import compile_snapshot


def main(path: Path) -> None:
    """What gw.server.worker does with a lane, in the same order. Raises gw.errors.ConfigError for a wrong config."""
    loaded = load(path)
    config = loaded.config
    segment = Segment(1, config.process.routes_max, config.process.endpoints_max, config.process.limit_cells)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    lane = Lane(segment, 0, lambda event, fields: print(event, fields, file=sys.stderr), lambda: None)
    lane.install(compile_snapshot(config, 1, segment, loaded.base))
    if config.access_log:
        lane.reopen_log(os.open(config.access_log.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640))
    for index, listener in enumerate(config.listeners):
        lane.listen(_bound(listener.bind, listener.backlog), index)
    lane.join(loop)
    loop.add_signal_handler(signal.SIGTERM, loop.stop)
    loop.run_forever()
    lane.abort()


def _bound(bind: str, backlog: int) -> int:
    """The descriptor of a listening, non-blocking socket; the lane owns it."""
    address = parse_bind(bind)
    listening = socket.create_server((address.host, address.port), backlog=backlog)
    listening.settimeout(0)
    return listening.detach()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
