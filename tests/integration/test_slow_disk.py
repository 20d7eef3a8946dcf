"""A disk that stands still under the store's file: leases of that file wait, and nothing else does; what was counted stays exact."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.integration.conftest import START, Gateway, until
from tests.integration.test_quota import ask, used
from tests.redis_server import RedisServer

# `gw`, but what reads the store's usage waits as long as a file is there, and says that it does.
SLOW = """
import sys, time
from pathlib import Path
from gw.store.usage import Usage

folder = Path(__file__).parent
read = Usage.read

def slow(self, *arguments):
    while (folder / "still").exists():
        (folder / "waits").touch()
        time.sleep(0.005)
    return read(self, *arguments)

Usage.read = slow
from gw.cli.main import main
main()
"""

ROUTES = """
routes:
  - {path: /, respond: {}, policies: [quota: {limit: 400, per: month, by: "query:k", name: all}]}
  - {path: /shared, respond: {}, policies: [quota: {limit: 400, per: month, by: "query:k", shared: true}]}
"""


@pytest.fixture
def disk(gateway: Gateway, redis_server: RedisServer) -> Disk:
    script = gateway.folder / "slow.py"
    script.write_text(SLOW)
    gateway.command = [sys.executable, str(script)]
    gateway.write(ROUTES, more=f"store: {{file: gw.db, redis: {{url: {redis_server.url}}}}}")
    gateway.start()
    return Disk(gateway)


class Disk:
    """Of this gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._still, self._waits = (gateway.folder / name for name in ("still", "waits"))

    @contextmanager
    def stands_still(self) -> Iterator[Future[tuple[int, bytes]]]:
        """While somebody waits for it; gives the answer of who does."""
        self._still.touch()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self._gateway.get, "/?k=waits")
            try:
                until(self._waits.exists, START, "the ledger waits for the disk")
                yield answer
            finally:
                self._still.unlink()
                self._waits.unlink(missing_ok=True)


def test_a_killed_worker_is_replaced_and_other_leases_are_granted_while_the_disk_stands_still(gateway: Gateway, disk: Disk) -> None:
    assert ask(gateway, 10) == {200: 10}
    with disk.stands_still() as waits:
        began = time.monotonic()
        assert ask(gateway, 10, "fresh", "/shared") == {200: 10}, "Redis grants to a key it has not seen"
        assert waits.result()[0] == 503, "it was told so after a second"
        killed, *_ = gateway.workers()
        os.kill(killed, signal.SIGKILL)
        until(lambda: gateway.restarts() == 1 and gateway.call("status")["ready"] and killed not in gateway.workers(), START, "another worker serves")
        assert gateway.call("reload")["ok"]
        assert ask(gateway, 10, "after", "/shared") == {200: 10}
        assert time.monotonic() - began < 5
        assert gateway.get("/?k=a")[0] == 200, "what was granted before is spent"
    until(lambda: gateway.get("/?k=waits")[0] == 200, START, "the disk moves again")
    gateway.hears(signal.SIGTERM)
    gateway.ends()
    assert (used(gateway), used(gateway, "waits")) == (11, 1)
    assert gateway.said("ledger-away") == []


def test_who_ends_while_the_disk_stands_still_waits_for_it_no_longer_than_two_seconds_and_counts_no_unit_twice(gateway: Gateway, disk: Disk) -> None:
    assert ask(gateway, 10) == {200: 10}
    granted = used(gateway)
    with disk.stands_still() as waits:
        assert waits.result()[0] == 503
        gateway.hears(signal.SIGTERM)
        gateway.ends()
    assert len(gateway.said("leases-lost")) == 1
    assert used(gateway) == granted
    gateway.log.unlink()
    gateway.start()
    assert ask(gateway, 420)[200] == 400 - granted


def test_what_the_disk_was_asked_for_when_everything_was_killed_is_not_granted(gateway: Gateway, disk: Disk) -> None:
    with disk.stands_still():
        for pid in (gateway.pid, *gateway.workers()):
            os.kill(pid, signal.SIGKILL)
        assert gateway.process
        gateway.process.wait()
    assert used(gateway, "waits") == 0
    gateway.log.unlink()
    gateway.start()
    assert ask(gateway, 420, "waits") == {200: 400, 429: 20}
