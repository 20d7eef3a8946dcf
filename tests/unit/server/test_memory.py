"""A lane with marks on what it may hold, drained by hand, with real clients."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gw._fast.lane import Lane
from gw._fast.shm import Segment
from gw.config import load
from gw.runtime import compile_snapshot
from tests.integration.conftest import until

HALF = b"GET / HTTP/1.1\r\nHost: a.test\r\n"
WHOLE = HALF + b"\r\n"
CONFIG = """
listeners: [{bind: "127.0.0.1:0"}]
routes: [{path: /, respond: {body: hello}}]
"""
EACH = 60_000  # bytes that a connection with half a head holds, about
LOOK = 64  # drains that bring everything to rest


class Rig:
    """A lane on a port of its own. `said` is what it reported, `asked` how often it asked for a look."""

    def __init__(self, stack: ExitStack, config: Path) -> None:
        self.stack = stack
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.asked = 0
        self.segment = Segment(1, 8, 8)
        self.lane = Lane(self.segment, 0, lambda event, fields: self.said.append((event, fields)), self._ask)
        loaded = load(config)
        self.lane.install(compile_snapshot(loaded.config, 1, self.segment, loaded.base))
        self.server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))
        self.server.setblocking(False)
        self.lane.listen(self.server.fileno(), 0)
        stack.callback(self.lane.close)

    def _ask(self) -> None:
        self.asked += 1

    @property
    def figures(self) -> dict[str, int]:
        return self.segment.workers()[0]

    def mark(self, ask: int, most: int) -> None:
        """Marks so many bytes above what is held now."""
        held = self.figures["memory_bytes"]
        self.segment.set_worker(0, memory_ask=held + ask, memory_most=held + most)

    def clients(self, count: int, send: bytes) -> list[socket.socket]:
        made = [self.stack.enter_context(socket.create_connection(self.server.getsockname())) for _ in range(count)]
        for sock in made:
            sock.setblocking(False)
            sock.sendall(send)
        self.drain()
        return made

    def drain(self) -> None:
        for _ in range(LOOK):
            self.lane.drain()

    def answer(self, sock: socket.socket) -> bytes:
        """The status line; empty when the connection was closed without one."""
        got: list[bytes] = []

        def read() -> bool:
            self.lane.drain()
            try:
                got.append(sock.recv(4096))
            except BlockingIOError:
                return False
            except ConnectionResetError:
                got.append(b"")
            return True

        until(read, 5, "an answer or the end")
        return got[0].partition(b"\r\n")[0]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    config = tmp_path / "gw.yaml"
    config.write_text(CONFIG)
    with ExitStack() as stack:
        yield Rig(stack, config)


def test_without_marks_it_takes_what_comes(rig: Rig) -> None:
    rig.clients(50, HALF)
    assert rig.lane.stats()["connections"] == 50
    assert rig.figures["memory_bytes"] > 50 * 32768
    assert (rig.asked, rig.said) == (0, [])


def test_what_is_held_comes_back_to_nothing(rig: Rig) -> None:
    before = rig.figures["memory_bytes"]
    for sock in rig.clients(20, HALF):
        sock.close()
    until(lambda: rig.drain() or rig.lane.stats()["connections"] == 0, 5, "every connection is gone")
    rig.lane.shed(True)
    assert rig.figures["memory_bytes"] == before


def test_it_asks_once_for_each_mark(rig: Rig) -> None:
    rig.mark(2 * EACH, 100 * EACH)
    rig.clients(10, HALF)
    assert rig.asked == 1
    rig.clients(10, HALF)
    assert rig.asked == 1
    rig.mark(2 * EACH, 100 * EACH)
    rig.clients(10, HALF)
    assert rig.asked == 2
    assert rig.said == []


def test_it_never_holds_more_than_its_bound_and_says_so(rig: Rig) -> None:
    rig.mark(10 * EACH, 10 * EACH)
    bound = rig.figures["memory_most"]
    for _ in range(10):
        rig.clients(10, HALF)
        assert rig.figures["memory_bytes"] <= bound
    assert rig.said[0] == ("memory-short", {"level": "error", "held": rig.said[0][1]["held"], "most": bound})
    assert (rig.figures["shedding"], rig.figures["sheds"]) == (1, 1)
    assert rig.figures["refused"] > 0
    assert rig.asked > 0


def test_whole_requests_are_answered_503_until_there_is_room_again(rig: Rig) -> None:
    rig.mark(10 * EACH, 10 * EACH)
    until(lambda: rig.clients(5, HALF) and rig.figures["shedding"], 5, "it sheds")
    assert rig.answer(rig.clients(1, WHOLE)[0]) == b"HTTP/1.1 503 Service Unavailable"
    rig.lane.shed(False)
    assert rig.answer(rig.clients(1, WHOLE)[0]) == b"HTTP/1.1 200 OK"


def test_at_its_bound_half_read_heads_make_room(rig: Rig) -> None:
    rig.mark(10 * EACH, 10 * EACH)
    first = rig.clients(5, HALF)
    until(lambda: rig.clients(5, HALF) and rig.figures["shedding"], 5, "it sheds")
    assert rig.answer(first[0]) == b""


def test_free_memory_goes_back_for_as_long_as_it_sheds(rig: Rig) -> None:
    """Otherwise what a burst has left behind would keep memory short for ever."""
    before = rig.figures["memory_bytes"]
    rig.lane.shed(True)
    for sock in rig.clients(20, WHOLE):
        assert rig.answer(sock) == b"HTTP/1.1 503 Service Unavailable"
        sock.close()
    assert rig.figures["memory_bytes"] > before
    until(lambda: rig.drain() or rig.figures["memory_bytes"] == before, 5, "it is given back")
