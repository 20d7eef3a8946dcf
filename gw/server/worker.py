"""A worker process: a uvloop loop, in it the lane, beside it the channel to the supervisor.

It is forked from the supervisor with the snapshot compiled, so that it serves some milliseconds after its birth. Signals are the
supervisor's: a worker ignores them and is told over the channel. When the channel ends, the supervisor is dead, and the worker drains.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import stat
import sys
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from socket import socket
from typing import Any, NoReturn

import uvloop
from msgspec import Struct

from gw._fast.lane import Lane
from gw._fast.shm import Segment
from gw.config import decode
from gw.config.model import Config
from gw.errors import GatewayError
from gw.observe import open_log_file
from gw.observe.log import Bridge
from gw.runtime import Snapshot, compile_snapshot
from gw.server import channel as messages
from gw.server.channel import Channel
from gw.server.slots import STACK_SIGNAL
from gw.server.sources import supply

CRASHED = 70  # exit code: an exception ended the worker (EX_SOFTWARE)
DRAIN_POLL = 0.02  # seconds between two looks for open exchanges
SWITCH_INTERVAL = 0.0005  # seconds the compiling thread may hold the interpreter before the lane gets it
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Seed(Struct):
    """What a worker is born with."""

    slot: int
    segment: Segment
    revision: int
    config: Config
    base: Path
    snapshot: list[Snapshot]  # one, taken out by the worker: nothing else may keep it alive beyond its time
    addresses: dict[str, list[tuple[str, int]]]
    supplies: dict[str, bytes]  # by source
    sockets: dict[str, list[int]]  # descriptors by bind
    channel: socket
    core: int | None  # to pin to
    shed: bool


class Next(Struct):
    """A revision that is being prepared."""

    message: messages.Prepare
    config: Config
    snapshot: Snapshot | None = None


def main(seed: Seed) -> NoReturn:
    """The life of the child after fork; never returns into the supervisor's code."""
    code = CRASHED
    try:
        settle(seed)
        code = Worker(seed).run()
    except BaseException:  # noqa: BLE001 - the end of the process: said with its traceback, nothing to unwind to
        _last_words(seed.channel, traceback.format_exc())
    finally:
        os._exit(code)


def settle(seed: Seed) -> None:
    """Make the forked copy a process of its own: signals, descriptors, name, core."""
    signal.set_wakeup_fd(-1)  # the supervisor's self-pipe: a byte written there would be a signal to the supervisor
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    faulthandler.register(STACK_SIGNAL, all_threads=True)
    close_foreign({seed.channel.fileno(), *(fd for fds in seed.sockets.values() for fd in fds)})
    name_process(f"gw: worker {seed.slot}")
    if seed.core is not None:
        os.sched_setaffinity(0, {seed.core})
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def name_process(name: str) -> None:
    """What ps and top show; the kernel keeps 15 bytes. Not everywhere may /proc be written."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def close_foreign(keep: set[int]) -> None:
    """Close the supervisor's sockets, pipes, epoll and inotify sets; files that a module of the operator opened stay.

    By number, not through their Python objects: unregistering from the supervisor's epoll set would unregister there too.
    """
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd not in keep and _is_foreign(fd):
            os.close(fd)


def _is_foreign(fd: int) -> bool:
    try:
        mode = os.fstat(fd).st_mode
        return stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode) or os.readlink(f"/proc/self/fd/{fd}").startswith(("anon_inode:[eventpoll]", "anon_inode:inotify"))
    except OSError:  # the descriptor of the listing itself
        return False


def _last_words(sock: socket, text: str) -> None:
    """Tell the supervisor why; when even that fails, stderr."""
    try:
        sock.settimeout(None)
        sock.sendall(messages.frame(messages.Report("worker-failed", {"level": "error", "traceback": text})))
    except OSError:
        sys.stderr.write(text)
        sys.stderr.flush()


def set_ticket_keys(config: Config, snapshot: Snapshot, keys: list[bytes]) -> None:
    """Give the contexts of every listener with session tickets new keys."""
    for listener, compiled in zip(config.listeners, snapshot.listeners, strict=True):
        if listener.tls and listener.tls.session_tickets:
            compiled["tls"].set_ticket_keys(keys)


class Worker:
    """The lane and what the supervisor wants of it."""

    def __init__(self, seed: Seed) -> None:
        self.slot = seed.slot
        self.segment = seed.segment
        self.config = seed.config
        self.revision = seed.revision
        self.sockets = seed.sockets
        self.snapshot = seed.snapshot.pop()
        self.next: Next | None = None
        self.draining = False
        self.exit_code = 0
        self.compiler = ThreadPoolExecutor(1, "compile")
        self.loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.channel = Channel(self.loop, seed.channel, messages.to_worker, self._receive, self._orphaned)
        logging.getLogger().handlers = [Bridge(self._say)]  # what libraries log goes to the supervisor: the error log has one writer
        self.lane = Lane(self.segment, self.slot, self._report, self._grown)
        self.supplies = seed.supplies
        supply(self.snapshot, self.supplies)
        self.lane.install(self.snapshot)
        self._point(seed.addresses)
        self.lane.shed(seed.shed)
        self._open_log()

    def run(self) -> int:
        """Serve until told to stop; returns the exit code."""
        self._accept()
        self.lane.join(self.loop)
        self.channel.send(messages.Ready(self.revision))
        self.loop.run_forever()
        self.lane.close()  # writes what the access log still holds
        return self.exit_code

    def _receive(self, message: messages.ToWorker, fds: list[int]) -> None:
        match message:
            case messages.Listen(binds=binds):
                for bind, fd in zip(binds, fds, strict=True):
                    self.sockets.setdefault(bind, []).append(fd)
            case messages.Prepare():
                self._prepare(message)
            case messages.Commit(revision=revision):
                self._commit(revision)
            case messages.Abandon():
                self._abandon()
            case messages.Drain(seconds=seconds):
                self._drain(seconds)
            case _:
                self._take(message)

    def _take(self, message: messages.ToWorker) -> None:
        """News that change nothing of what is served, but where to, with what, or whether."""
        match message:
            case messages.Addresses(endpoint=endpoint, addresses=addresses):
                self.lane.set_addresses(endpoint.encode(), addresses)
            case messages.Supply(source=source, data=data):
                self.supplies[source] = data
                supply(self.snapshot, {source: data})
            case messages.Granted():
                for step in self.snapshot.settings["leases"]:
                    step.wake()
            case messages.NewTicketKeys(keys=keys):
                set_ticket_keys(self.config, self.snapshot, keys)
                if self.next and self.next.snapshot:
                    set_ticket_keys(self.next.config, self.next.snapshot, keys)
            case messages.ReopenLogs():
                self._open_log()
            case messages.Shed(on=on):
                self.lane.shed(on)

    def _report(self, event: str, fields: dict[str, Any]) -> None:
        if event == "source-wanted":
            self.channel.offer(messages.Want(fields["source"]))
            return
        if event == "units-wanted":
            self.channel.offer(messages.Asked(**fields))
            return
        self.channel.offer(messages.Report(event, fields))

    def _grown(self) -> None:
        self.channel.offer(messages.Growing())

    def _say(self, level: str, event: str, /, **fields: Any) -> None:
        self._report(event, {"level": level, **fields})

    def _prepare(self, message: messages.Prepare) -> None:
        """Compile in a thread, so that requests go on meanwhile."""
        self.next = Next(message, decode(message.config))
        sys.setswitchinterval(SWITCH_INTERVAL)
        done = self.compiler.submit(compile_snapshot, self.next.config, message.revision, self.segment, Path(message.base), ticket_keys=message.ticket_keys)
        done.add_done_callback(lambda future: self.loop.call_soon_threadsafe(self._compiled, message.revision, future))

    def _compiled(self, revision: int, future: Future[Snapshot]) -> None:
        if self.next is None or self.next.message.revision != revision:
            return
        error = future.exception()
        if error is None:
            self.next.snapshot = future.result()
            self.channel.send(messages.Prepared(revision))
            return
        self.next = None
        reason = str(error) if isinstance(error, GatewayError) else "".join(traceback.format_exception(error))
        self.channel.send(messages.Failed(revision, reason))

    def _commit(self, revision: int) -> None:
        """Swap between two turns of the loop: nobody sees half of it."""
        if self.next is None or self.next.snapshot is None or self.next.message.revision != revision:
            return
        for fd in self._descriptors():
            self.lane.unlisten(fd)
        before, self.config = self.config, self.next.config
        self.snapshot, self.revision = self.next.snapshot, revision
        self.supplies = {**self.next.message.supplies, **self.supplies}
        supply(self.snapshot, self.supplies)
        self.lane.install(self.snapshot)
        self._point(self.next.message.addresses)
        self.next = None
        self._close_unused()
        self._accept()
        if before.access_log != self.config.access_log:
            self._open_log()
        self.channel.send(messages.Committed(revision))

    def _abandon(self) -> None:
        self.next = None
        self._close_unused()

    def _accept(self) -> None:
        if self.draining:
            return
        for index, listener in enumerate(self.config.listeners):
            for fd in self.sockets[listener.bind]:
                self.lane.listen(fd, index)

    def _descriptors(self) -> list[int]:
        used = {listener.bind for listener in self.config.listeners}
        return [] if self.draining else [fd for bind, fds in self.sockets.items() if bind in used for fd in fds]

    def _close_unused(self) -> None:
        used = set() if self.draining else {listener.bind for listener in self.config.listeners}
        for bind in self.sockets.keys() - used:
            for fd in self.sockets.pop(bind):
                os.close(fd)

    def _point(self, addresses: dict[str, list[tuple[str, int]]]) -> None:
        for endpoint, found in addresses.items():
            self.lane.set_addresses(endpoint.encode(), found)

    def _open_log(self) -> None:
        """The lane takes the descriptor over."""
        log = self.config.access_log
        if log is None:
            return
        try:
            fd = open_log_file(log.file)
        except OSError as error:
            self._say("error", "access-log-failed", file=log.file, reason=error.strerror)
            return
        self.lane.reopen_log(fd)

    def _orphaned(self) -> None:
        self._drain(self.config.process.drain)

    def _drain(self, seconds: float) -> None:
        if not self.draining:
            self.lane.drain()  # take what is queued: closing the sockets would reset it
            for fd in self._descriptors():
                self.lane.unlisten(fd)
            self.lane.begin_drain()
            self.draining = True
            self._close_unused()
            self._leave_when_idle()
        self.loop.call_later(seconds, self._give_up)

    def _leave_when_idle(self) -> None:
        if self.lane.active():
            self.loop.call_later(DRAIN_POLL, self._leave_when_idle)
        else:
            self.loop.stop()

    def _give_up(self) -> None:
        self._say("warning", "drain-cut", exchanges=self.lane.active())
        self.loop.stop()
