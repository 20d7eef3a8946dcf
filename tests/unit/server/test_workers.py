"""Real forks, with children that do as they are told: who is started again, when, and what is heard of the dead."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from socket import socket
from typing import Any, NoReturn

import pytest

from gw.server import channel as messages
from gw.server.channel import frame
from gw.server.slots import KILL_AFTER, LOOP_DEATHS, Child, Slot
from gw.server.workers import Workers


class Stage:
    """An owner whose workers run `life`, and the supervisor's main loop around them."""

    diligent = False  # whether its workers serve between birth and death

    def __init__(self, count: int, life: Callable[[Slot, socket], int]) -> None:
        self.loop = asyncio.SelectorEventLoop()
        self.actions: asyncio.Queue[Callable[[], None]] = asyncio.Queue()
        self.life = life
        self.heard_words: list[Any] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.starts = 0
        self.beat = 0
        self.served = 0
        self.workers = Workers(count, self, self.loop, self.actions)
        self.loop.add_signal_handler(signal.SIGCHLD, self.workers.reap)

    def log(self, level: str, event: str, **fields: object) -> None:
        self.events.append((event, {"level": level, **fields}))

    def become(self, slot: Slot, channel: socket) -> NoReturn:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os._exit(self.life(slot, channel))

    def started(self, child: Child) -> None:
        self.starts += 1

    def heard(self, child: Child, message: messages.ToSupervisor) -> None:
        self.heard_words.append(message)
        if isinstance(message, messages.Ready):
            child.revision = message.revision

    def ended(self, child: Child) -> None:
        assert child.slot.child is None

    def heartbeat(self, child: Child) -> int:
        return self.beat

    def requests(self, slot: Slot) -> int:
        self.served += self.diligent
        return self.served

    def run(self, done: Callable[[], bool], seconds: float = 5.0) -> None:
        """Work off actions until `done`."""
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, (self.workers, self.events)
            try:
                self.loop.run_until_complete(asyncio.wait_for(self.actions.get(), 0.02))()
            except TimeoutError:
                continue

    def end(self) -> None:
        self.workers.kill()
        self.run(lambda: not self.workers.living)
        self.loop.remove_signal_handler(signal.SIGCHLD)
        self.loop.close()


def wait(slot: Slot, channel: socket) -> int:
    """Serve until told to drain; the message's bytes are not looked into."""
    channel.sendall(frame(messages.Ready(1)))
    channel.recv(100)
    return 0


def fail(slot: Slot, channel: socket) -> int:
    return 3


def leave(slot: Slot, channel: socket) -> int:
    return 0


@pytest.fixture
def stage() -> Iterator[Callable[..., Stage]]:
    made: list[Stage] = []

    def make(count: int, life: Callable[[Slot, socket], int]) -> Stage:
        made.append(Stage(count, life))
        made[-1].workers.fork_all()
        return made[-1]

    yield make
    for each in made:
        each.end()


def test_every_slot_is_filled_and_a_dead_worker_replaced(stage: Callable[..., Stage]) -> None:
    play = stage(2, wait)
    play.run(lambda: len(play.heard_words) == 2)
    first, second = (child.pid for child in play.workers.living)
    killed = time.monotonic()
    os.kill(first, signal.SIGKILL)
    play.run(lambda: len(play.heard_words) == 3)
    assert time.monotonic() - killed < 0.2
    assert [slot.restarts for slot in play.workers.slots] == [1, 0]
    assert play.workers.slots[1].child.pid == second
    name, fields = play.events[0]
    assert (name, fields["signal"], fields["worker_pid"], fields["again_in"]) == ("worker-exited", "SIGKILL", first, 0.0)


def test_a_loop_of_deaths_is_slowed_down(stage: Callable[..., Stage]) -> None:
    play = stage(1, fail)
    play.run(lambda: play.workers.looping)
    assert play.starts == LOOP_DEATHS
    assert [fields["again_in"] for _, fields in play.events] == [0.0] * (LOOP_DEATHS - 1) + [0.2]
    assert {fields["code"] for _, fields in play.events} == {3}
    play.run(lambda: play.starts == LOOP_DEATHS + 1)


def test_those_who_served_are_replaced_at_once_however_often_they_die(stage: Callable[..., Stage]) -> None:
    play = stage(1, fail)
    play.diligent = True
    play.run(lambda: play.starts == 3 * LOOP_DEATHS)
    assert {fields["again_in"] for _, fields in play.events} == {0.0}


def test_last_words_come_before_the_news_of_the_death(stage: Callable[..., Stage]) -> None:
    def complain(slot: Slot, channel: socket) -> int:
        channel.sendall(frame(messages.Report("worker-failed", {"traceback": "x" * 100_000})))
        return 70

    play = stage(1, complain)
    play.run(lambda: play.starts == 3)
    assert len(play.heard_words) == 2
    assert {type(word) for word in play.heard_words} == {messages.Report}


def test_nothing_is_started_again_while_stopping(stage: Callable[..., Stage]) -> None:
    play = stage(3, wait)
    play.run(lambda: len(play.heard_words) == 3)
    play.workers.stop(5.0)
    play.run(lambda: not play.workers.living)
    assert play.starts == 3
    assert {(name, fields["level"], fields["code"]) for name, fields in play.events} == {("worker-exited", "info", 0)}


def test_a_silent_worker_is_asked_for_its_stack_then_killed(stage: Callable[..., Stage]) -> None:
    play = stage(1, wait)
    play.run(lambda: len(play.heard_words) == 1)
    child = play.workers.living[0]
    for second in range(1, 6):
        play.workers.look(float(second))
    assert play.events == []
    play.workers.look(6.0)
    assert play.events[0][0] == "worker-stuck"
    play.run(lambda: play.workers.slots[0].restarts == 1)  # this one has no handler, so that the signal ends it
    assert play.events[1][1]["worker_pid"] == child.pid


def test_a_worker_that_never_gets_to_serve_is_killed(stage: Callable[..., Stage]) -> None:
    play = stage(1, lambda _slot, channel: len(channel.recv(1)))
    play.workers.look(play.workers.living[0].started + KILL_AFTER - 1)
    assert play.events == []
    play.workers.look(play.workers.living[0].started + KILL_AFTER + 1)
    play.run(lambda: play.workers.slots[0].restarts == 1)
    assert [name for name, _ in play.events] == ["worker-killed", "worker-exited"]


def test_no_signal_is_lost_or_handled_by_a_child(stage: Callable[..., Stage]) -> None:
    """A signal to the whole process group during a fork must reach the supervisor once and no child's copy of its handler."""
    seen: list[int] = []
    play = stage(1, leave)
    play.loop.add_signal_handler(signal.SIGUSR2, lambda: seen.append(1))
    os.kill(os.getpid(), signal.SIGUSR2)
    play.run(lambda: play.starts == 3)
    play.loop.remove_signal_handler(signal.SIGUSR2)
    assert seen == [1]
