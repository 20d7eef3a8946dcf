"""One proxy, one recording origin and one event loop for the whole session. WIRE_PEER names the proxy (default gw)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from tests.wire.origin import Origin
from tests.wire.peers import PEERS, Job, Peer


class Bench:
    """A running proxy in front of a recording origin."""

    def __init__(self, runner: asyncio.Runner, peer: Peer, origin: Origin) -> None:
        self.runner = runner
        self.peer = peer
        self.origin = origin

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    with asyncio.Runner() as runner:
        async def begin() -> Origin:
            return await Origin().__aenter__()

        origin = runner.run(begin())
        peer = PEERS[os.environ.get("WIRE_PEER", "gw")](Job([origin.port]))
        runner.run(asyncio.to_thread(peer.start))
        try:
            yield Bench(runner, peer, origin)
        finally:
            peer.remove()
            runner.run(origin.__aexit__())


@pytest.fixture(autouse=True)
def nothing_is_left() -> None:
    """The origin of the session keeps the proxy's idle connections from one case to the next; `bench` closes them at the end."""
