"""A running gw whose cgroup is said to have so much memory in use; tests/faults has one with a limit that the kernel enforces."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from gw.server.limits import LOOK
from tests.integration.conftest import Gateway, until

HELLO = "routes: [{path: /, respond: {body: hello}}]"
MIB = 1 << 20
SHORT_OF_MEMORY = """
import sys
from pathlib import Path
from gw.server import limits
limits.memory = lambda: limits.Memory(int(float(Path(sys.argv[2] + ".used").read_text()) * 2**20), 100 * 2**20)
from gw.cli.main import main
main()
"""


class Tight(Gateway):
    """With a limit of 100 MiB, of which it is told how many are used."""

    def use(self, mib: float) -> None:
        fresh = self.folder / "fresh.used"
        fresh.write_text(str(mib))
        fresh.rename(Path(f"{self.config}.used"))

    def statuses(self) -> set[int]:
        return {self.get()[0] for _ in range(10)}

    def figure(self, name: str) -> list[float]:
        """Of each worker."""
        return [float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (.*)$", self.get("/metrics", self.admin)[1].decode(), re.MULTILINE)]


@pytest.fixture
def tight(gateway: Gateway) -> Tight:
    gateway.__class__ = Tight
    assert isinstance(gateway, Tight)
    gateway.command = [sys.executable, "-c", SHORT_OF_MEMORY]
    gateway.use(50)
    gateway.write(HELLO)
    gateway.start()
    return gateway


def test_new_work_is_refused_while_memory_is_short(tight: Tight) -> None:
    assert tight.get()[0] == 200
    tight.use(95)
    until(lambda: tight.said("memory-short", used=95 * MIB, limit=100 * MIB), 5, "memory-short")
    until(lambda: tight.statuses() == {503}, 5, "503 from every worker")
    os.kill(tight.workers()[0], signal.SIGKILL)
    until(lambda: tight.call("status")["ready"], 5, "a new worker")
    assert tight.statuses() == {503}
    tight.use(90)
    time.sleep(LOOK * 1.2)
    assert tight.get()[0] == 503
    tight.use(60)
    until(lambda: tight.statuses() == {200}, 5, "work is taken again")


def test_lanes_stop_at_their_bounds_while_nobody_looks(tight: Tight) -> None:
    """300 half-read heads would hold 18 MiB; there are 6. The supervisor is stopped, so that nothing is shared out anew."""
    tight.use(90)
    until(lambda: tight.figure("gw_memory_used_bytes") == [90 * MIB], 5, "the supervisor has looked")
    tight.hears(signal.SIGSTOP)
    with ExitStack() as held:
        socks = [held.enter_context(socket.create_connection(("127.0.0.1", tight.port), 5)) for _ in range(300)]
        for sock in socks:
            with suppress(OSError):
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a")
        until(lambda: select.select(socks, [], [], 0)[0], 5, "connections are closed")
        tight.hears(signal.SIGCONT)
        said = until(lambda: [each for each in tight.said("memory-short") if "held" in each], 5, "a lane says that it met its bound")
        assert all(each["held"] <= each["most"] < 4 * MIB for each in said)
        assert sum(tight.figure("gw_worker_sheds_total")) >= len(said)
        until(lambda: tight.said("memory-short", used=90 * MIB) and tight.statuses() == {503}, 5, "the supervisor agrees that memory is short")
    tight.use(60)
    until(lambda: tight.statuses() == {200}, 5, "work is taken again")


def test_what_is_held_counts_before_it_is_filled(tight: Tight) -> None:
    """Hundreds of heads of a few bytes: little is in use, but the clients may fill every buffer whenever they like."""
    tight.use(70)
    until(lambda: tight.figure("gw_memory_used_bytes") == [70 * MIB], 5, "the supervisor has looked")
    with ExitStack() as held:
        for _ in range(600):
            sock = held.enter_context(socket.create_connection(("127.0.0.1", tight.port), 5))
            with suppress(OSError):
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a")
        said = until(lambda: tight.said("memory-short", used=70 * MIB), 5, "memory-short")
        assert said[0]["unfilled"] > 10 * MIB
