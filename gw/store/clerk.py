"""A thread for work that may stand still, such as that of a slow disk: the loop that asks for it goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar
from weakref import WeakSet

FORK_WAIT = 0.05  # seconds that a fork waits for threads that work: a write to a quick disk takes far less
Result = TypeVar("Result")


class Clerk:
    """Does what it is asked for one after the other, in that order, in one thread; it ends with the process, whatever the thread is at."""

    def __init__(self, name: str) -> None:
        """The thread begins with the first work."""
        self._name = name
        self._works: SimpleQueue[Callable[[], None] | None] | None = None
        self.working = Lock()
        _clerks.add(self)

    def __repr__(self) -> str:
        return f"<Clerk {self._name}>"

    async def do(self, work: Callable[[], Result]) -> Result:
        """What `work` returns, or raises. It is done even when who waits for it is cancelled."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Result] = loop.create_future()
        if self._works is None:
            self._works = SimpleQueue()
            Thread(target=self._serve, args=[self._works], name=self._name, daemon=True).start()
        self._works.put(partial(_do, work, loop, told))
        return await told

    def dismiss(self) -> None:
        """The thread ends after what it was asked for; another one begins with the next work."""
        if self._works:
            self._works.put(None)
            self._works = None

    def _serve(self, works: SimpleQueue[Callable[[], None] | None]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # those are the loop's
        while work := works.get():
            with self.working:
                work()


def _do(work: Callable[[], Result], loop: asyncio.AbstractEventLoop, told: asyncio.Future[Result]) -> None:
    try:
        tell: Callable[[], Any] = partial(told.set_result, work())
    except Exception as error:  # noqa: BLE001 - raised where it is waited for
        tell = partial(told.set_exception, error)
    with suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(lambda: told.done() or tell())


# A fork copies locks as they are, and none of the threads that would open them: SQLite's own, of its memory, would stay shut in a child whose hooks
# use SQLite too. So a fork waits until no clerk works; but not for one that stands still: it is in a read or a write, where SQLite holds none of those.
_clerks: WeakSet[Clerk] = WeakSet()
_held: list[Lock] = []


def _before_fork() -> None:
    until = time.monotonic() + FORK_WAIT
    _held.extend(lock for lock in [clerk.working for clerk in _clerks] if lock.acquire(timeout=max(0.0, until - time.monotonic())))


def _after_fork() -> None:
    while _held:
        _held.pop().release()


def _in_child() -> None:
    _after_fork()
    _clerks.clear()  # they stayed behind


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
