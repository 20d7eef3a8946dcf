"""One worker slot: the process in it, when to start the next one, whether it still moves."""

from __future__ import annotations

import os
import signal
import socket
from typing import Literal

from msgspec import Struct

from gw.server.channel import Channel

LOOP_DEATHS = 5  # deaths in a row, each soon after its start and without a request served, that make a loop
LOOP_LIFE = 0.5  # seconds; a worker that lived longer, or served, ends the loop: forks at that pace cost next to nothing
FIRST_DELAY = 0.2  # seconds; doubles with each further death
LAST_DELAY = 10.0  # seconds
TICK_MAX = 2.0  # seconds a single look may add to a silence, so that a stopped supervisor or a suspended machine blames no worker
STUCK_AFTER = 5.0  # seconds without a heartbeat: log it and ask for a stack dump
KILL_AFTER = 30.0  # seconds without a heartbeat
STACK_SIGNAL = signal.SIGRTMIN + 1  # the worker writes its stacks to stderr (faulthandler)


class Backoff:
    """Delay before the next start. A death is answered at once, until deaths come as a loop."""

    def __init__(self) -> None:
        self.deaths = 0

    def died(self, lived: float, served: bool) -> float:
        """Seconds to wait, given how many seconds the last worker lived and whether it ended a request."""
        self.deaths = 1 if served or lived > LOOP_LIFE else self.deaths + 1
        over = self.deaths - LOOP_DEATHS
        return min(LAST_DELAY, FIRST_DELAY * 2.0**over) if over >= 0 else 0.0


class Pulse:
    """How long a worker's heartbeat has stood still, as seen by somebody who looks about once a second."""

    def __init__(self) -> None:
        self._beat = 0
        self._looked = 0.0
        self._silence = 0.0
        self._warned = False

    def look(self, beat: int, now: float) -> Literal["alive", "stuck", "stuck-still", "dead"]:
        """`stuck` is said once per silence, `dead` when it is to be killed."""
        if beat != self._beat or not self._looked:
            self._beat, self._looked, self._silence, self._warned = beat, now, 0.0, False
            return "alive"
        self._silence += min(now - self._looked, TICK_MAX)
        self._looked = now
        if self._silence >= KILL_AFTER:
            return "dead"
        if self._silence < STUCK_AFTER:
            return "alive"
        warned, self._warned = self._warned, True
        return "stuck-still" if warned else "stuck"


class Slot:
    """A place for one worker; empty while `child` is None."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.restarts = 0
        self.backoff = Backoff()
        self.child: Child | None = None

    def __repr__(self) -> str:
        return f"<Slot {self.index} child={self.child} restarts={self.restarts}>"

    @property
    def revision(self) -> int:
        """What is served from here; 0 when nothing is."""
        return self.child.revision if self.child else 0


class Child:
    """A worker process, as its parent knows it."""

    def __init__(self, slot: Slot, pid: int, channel: Channel, now: float, requests: int) -> None:
        self.slot = slot
        self.pid = pid
        self.channel = channel
        self.started = now  # monotonic seconds
        self.own = 0  # bytes of anonymous memory that are not its lane's; 0 until it serves
        self.requests = requests  # counted in its slot before it was born
        self.revision = 0  # that it serves; 0 until it accepts connections
        self.pulse = Pulse()

    def __repr__(self) -> str:
        return f"<Child {self.pid} revision={self.revision}>"


class Exit(Struct, frozen=True):
    """How a process ended: `code` or `signal`, the other is None. Real-time signals have no name but a number."""

    code: int | None
    signal: str | None

    @classmethod
    def of(cls, status: int) -> Exit:
        """From the status of waitpid."""
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            return cls(None, signal.Signals(number).name if number in set(signal.Signals) else str(number))
        return cls(os.waitstatus_to_exitcode(status), None)


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a channel: supervisor's, worker's."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
