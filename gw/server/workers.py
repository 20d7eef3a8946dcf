"""Keeps a worker in every slot: forks, reaps, starts again, watches heartbeats.

Forking happens between two runs of the supervisor's loop, never inside one: `fork` is put on the queue of actions that the main loop
works off. All signals are blocked around it, so that none is handled by a child that still looks like the supervisor.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from socket import socket
from typing import Any, NoReturn, Protocol

from msgspec import Struct

from gw.server import channel as messages
from gw.server.channel import Channel
from gw.server.slots import KILL_AFTER, LOOP_DEATHS, STACK_SIGNAL, STUCK_AFTER, Child, Exit, Slot, pair

ALL_SIGNALS = signal.valid_signals()


class Owner(Protocol):
    """Who decides what workers are made of and what their words mean."""

    @property
    def log(self) -> Callable[..., None]: ...

    def become(self, slot: Slot, channel: socket) -> NoReturn: ...
    def started(self, child: Child) -> None: ...
    def heard(self, child: Child, message: messages.ToSupervisor) -> None: ...
    def ended(self, child: Child) -> None: ...
    def heartbeat(self, child: Child) -> int: ...
    def requests(self, slot: Slot) -> int: ...


class Workers:
    """The slots, and the processes in them."""

    def __init__(self, count: int, owner: Owner, loop: asyncio.AbstractEventLoop, actions: asyncio.Queue[Callable[[], None]]) -> None:
        self.slots = [Slot(index) for index in range(count)]
        self.stopping = False
        self._owner = owner
        self._loop = loop
        self._actions = actions

    def __repr__(self) -> str:
        return f"<Workers {self.slots}>"

    @property
    def living(self) -> list[Child]:
        """The processes there are."""
        return [slot.child for slot in self.slots if slot.child]

    @property
    def looping(self) -> bool:
        """Whether workers die as fast as they are started."""
        return any(slot.backoff.deaths >= LOOP_DEATHS for slot in self.slots)

    def fork(self, slot: Slot) -> None:
        """Start a worker; only from outside the loop."""
        if self.stopping or slot.child:
            return
        ours, theirs = pair()
        sys.stdout.flush()
        sys.stderr.flush()
        gc.freeze()  # the child's collector leaves the inherited pages alone, which keeps them shared
        requests = self._owner.requests(slot)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ALL_SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                ours.detach()
                self._owner.become(slot, theirs)
        except OSError as error:  # no memory or no process ids: try again as if it had died
            ours.close()
            self._owner.log("error", "fork-failed", worker=slot.index, reason=error.strerror)
            self._again(slot, max(1.0, slot.backoff.died(0.0, served=False)))
            return
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            gc.unfreeze()
            theirs.close()
        channel = Channel(self._loop, ours, messages.to_supervisor, partial(self._heard, slot), lambda: None)
        slot.child = Child(slot, pid, channel, time.monotonic(), requests)
        self._owner.started(slot.child)

    def fork_all(self) -> None:
        """Fill every empty slot; only from outside the loop."""
        for slot in self.slots:
            self.fork(slot)

    def send(self, message: Struct) -> None:
        """To all that live."""
        for child in self.living:
            child.channel.send(message)

    def reap(self) -> None:
        """After SIGCHLD: see which workers have ended."""
        for child in self.living:
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._ended(child, Exit.of(status))

    def stop(self, seconds: float) -> None:
        """Drain all; none is started again."""
        self.stopping = True
        self.send(messages.Drain(seconds))

    def kill(self) -> None:
        """End all at once."""
        self.stopping = True
        for child in self.living:
            os.kill(child.pid, signal.SIGKILL)

    def look(self, now: float) -> None:
        """About once a second: a worker whose loop stands still is logged, made to show its stacks, in the end killed."""
        for child in self.living:
            verdict = self._verdict(child, now)
            if verdict == "stuck":
                self._owner.log("error", "worker-stuck", worker=child.slot.index, worker_pid=child.pid, seconds=STUCK_AFTER, stacks="stderr")
                os.kill(child.pid, STACK_SIGNAL)
            elif verdict == "dead":
                self._owner.log("error", "worker-killed", worker=child.slot.index, worker_pid=child.pid, reason=f"no sign of life for {KILL_AFTER:g} s")
                os.kill(child.pid, signal.SIGKILL)

    def _verdict(self, child: Child, now: float) -> str:
        if not child.revision:  # no heartbeat before it serves
            return "dead" if now - child.started > KILL_AFTER else "alive"
        return child.pulse.look(self._owner.heartbeat(child), now)

    def _heard(self, slot: Slot, message: Any, _fds: list[int]) -> None:
        if slot.child:
            self._owner.heard(slot.child, message)

    def _ended(self, child: Child, how: Exit) -> None:
        slot, lived = child.slot, time.monotonic() - child.started
        child.channel.finish()  # its last words
        slot.child = None
        served = self._owner.requests(slot) > child.requests
        delay = None if self.stopping else slot.backoff.died(lived, served)
        level = "info" if self.stopping and how.code == 0 else "error"
        self._owner.log(level, "worker-exited", worker=slot.index, worker_pid=child.pid, code=how.code, signal=how.signal, lived=round(lived, 3), again_in=delay)
        self._owner.ended(child)
        if delay is not None:
            slot.restarts += 1
            self._again(slot, delay)

    def _again(self, slot: Slot, delay: float) -> None:
        action = partial(self.fork, slot)
        if delay:
            self._loop.call_later(delay, self._actions.put_nowait, action)
        else:
            self._actions.put_nowait(action)
