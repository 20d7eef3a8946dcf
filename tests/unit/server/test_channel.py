"""Messages arrive whole, in order and with their descriptors, however the bytes are cut."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gw.server.channel import (
    FDS_PER_MESSAGE,
    QUEUE_MAX,
    Abandon,
    Addresses,
    Channel,
    Commit,
    Drain,
    Failed,
    Frames,
    Listen,
    Prepare,
    Prepared,
    Report,
    frame,
    to_supervisor,
    to_worker,
)

WORDS = [Commit(3), Abandon(1), Drain(2.5), Addresses("a:80", [("10.0.0.1", 80)]), Prepare(7, b"x" * 300, "/etc/gw", {}, [], {"JwksSource:1": b"keys"}), Listen([])]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_any_cut_gives_the_same_messages(cuts: list[int]) -> None:
    data = b"".join(map(frame, WORDS))
    frames, found, at = Frames(), [], 0
    for cut in [*cuts, len(data)]:
        found += [to_worker(body) for body in frames.feed(data[at : at + cut])]
        at += cut
    assert found == WORDS[: len(found)]
    assert at < len(data) or len(found) == len(WORDS)


def test_byte_by_byte() -> None:
    frames = Frames()
    data = b"".join(map(frame, WORDS))
    assert [to_worker(body) for index in range(len(data)) for body in frames.feed(data[index : index + 1])] == WORDS


class Ends:
    """Both ends of a channel in one loop, and what they heard."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        one, two = socket.socketpair()
        self.loop = loop
        self.heard: list[Any] = []
        self.fds: list[int] = []
        self.lost: list[str] = []
        self.supervisor = Channel(loop, one, to_supervisor, self._hear, lambda: self.lost.append("supervisor"))
        self.worker = Channel(loop, two, to_worker, self._hear, lambda: self.lost.append("worker"))

    def _hear(self, message: Any, fds: list[int]) -> None:
        self.heard.append(message)
        self.fds += fds

    def until(self, done: Callable[[], bool]) -> None:
        async def poll() -> None:
            while not done():
                await asyncio.sleep(0)

        self.loop.run_until_complete(asyncio.wait_for(poll(), 5))


@contextmanager
def ends() -> Iterator[Ends]:
    loop = asyncio.SelectorEventLoop()
    both = Ends(loop)
    try:
        yield both
    finally:
        both.supervisor.close()
        both.worker.close()
        for fd in both.fds:
            os.close(fd)
        loop.close()


def test_both_directions() -> None:
    with ends() as both:
        both.supervisor.send(Commit(2))
        both.worker.send(Failed(2, "no"))
        both.until(lambda: len(both.heard) == 2)
        assert sorted(map(repr, both.heard)) == ["Commit(revision=2)", "Failed(revision=2, reason='no')"]


def test_a_message_larger_than_the_socket_buffer_waits_and_arrives() -> None:
    with ends() as both:
        config = os.urandom(5 * 1024 * 1024)
        both.supervisor.send(Prepare(1, config, "/", {}, [], {}))
        both.supervisor.send(Commit(1))
        assert "bytes wait" in repr(both.supervisor)
        both.until(lambda: len(both.heard) == 2)
        assert both.heard[0].config == config
        assert both.heard[1] == Commit(1)
        assert repr(both.supervisor).endswith(" 0 bytes wait>")


def test_descriptors_come_with_their_message_even_behind_a_queue() -> None:
    with ends() as both, socket.socket() as sock:
        both.supervisor.send(Prepare(1, bytes(3 * 1024 * 1024), "/", {}, [], {}))
        many = FDS_PER_MESSAGE + 5
        both.supervisor.send_sockets((f":{port}", sock.fileno()) for port in range(many))
        both.supervisor.send(Commit(1))
        both.until(lambda: len(both.heard) == 4)
        assert [type(message).__name__ for message in both.heard] == ["Prepare", "Listen", "Listen", "Commit"]
        assert [bind for message in both.heard[1:3] for bind in message.binds] == [f":{port}" for port in range(many)]
        assert len(both.fds) == many
        assert {os.fstat(fd).st_ino for fd in both.fds} == {os.fstat(sock.fileno()).st_ino}
        assert not any(os.get_inheritable(fd) for fd in both.fds)


def test_the_end_of_one_is_told_to_the_other_once() -> None:
    with ends() as both:
        both.worker.close()
        both.until(lambda: bool(both.lost))
        assert both.lost == ["supervisor"]
        assert repr(both.supervisor) == "<Channel closed, 0 bytes wait>"
        both.supervisor.send(Commit(1))
        both.supervisor.close()


def test_reports_are_dropped_rather_than_heaped_up() -> None:
    with ends() as both:
        text = "x" * 100_000
        taken = [both.worker.offer(Report("noise", {"text": text})) for _ in range(30)]
        assert taken[0]
        assert not taken[-1]
        assert int(repr(both.worker).split()[-3]) < QUEUE_MAX + 2 * len(text)
        both.until(lambda: len(both.heard) == sum(taken))


def test_last_words_are_heard_after_the_death() -> None:
    with ends() as both:
        both.worker.send(Prepared(4))
        both.worker.close()
        both.supervisor.finish()
        assert both.heard == [Prepared(4)]
        assert both.lost == []


def test_an_unknown_message_does_not_decode() -> None:
    body = msgspec.msgpack.encode({"type": "nonsense"})
    try:
        to_worker(body)
    except msgspec.ValidationError as error:
        assert "nonsense" in str(error)
    else:
        raise AssertionError("decoded")
