"""The parent process: owns the sockets, the shared segment and the revision in force; starts workers and tells them what to do.

Life: load and bind and compile (any problem ends it here, before anything serves) -> resolve names -> fork -> serve until a signal ->
drain -> exit. One thread, asyncio's own loop, and one that waits for the disk (gw/store/clerk.py). The loop stops for every fork: see workers.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from selectors import EpollSelector
from socket import socket
from typing import Any, NoReturn

import msgspec
from msgspec.structs import replace

from gw import __version__
from gw._fast.bucket import Limits
from gw._fast.shm import Segment
from gw.config import Config, Loaded, load, parse_bind
from gw.config.model import Redis
from gw.errors import ConfigError
from gw.observe import open_error_log
from gw.runtime import compile_snapshot, warnings
from gw.server import channel as messages
from gw.server import limits, notify, pidfile, upgrade, worker
from gw.server.control import Control
from gw.server.leases import Lender
from gw.server.reload import RESOLVE_TIMEOUT, Reloader, Revision
from gw.server.slots import Child, Slot
from gw.server.sockets import Sockets, explain, name_of, open_single
from gw.server.sources import Sources, sources_of
from gw.server.view import View
from gw.server.watch import Watch, watched
from gw.server.workers import Workers
from gw.services import Discovery, SystemResolver, named_endpoints
from gw.store import UsageLedger
from gw.store.redis_ledger import RedisLedger
from gw.tls import TicketKeys

TICK = 1.0  # seconds between two looks at heartbeats
KILL_GRACE = 2.0  # seconds a worker has beyond its drain before it is killed
ADMIN_BACKLOG = 64
LOOPBACK = ("127.", "[::1]:", "unix:")

Source = Path | Config
Adjust = Callable[[Config], Config]
ServeAdmin = Callable[[socket, Any], Awaitable[None]]


def run(source: Source, *, adjust: Adjust | None = None, admin: ServeAdmin | None = None) -> int:
    """Serve until told to stop; returns the exit code.

    `source` is a config file, a folder of them, or a Config (which cannot be reloaded). `adjust` changes what was loaded, at every
    reload too. `admin` answers on the admin address: `gw.admin.serve`. Raises ConfigError when there is something wrong with the config
    or an address cannot be bound.
    """
    return Supervisor(source, adjust or (lambda config: config), admin).run()


def with_absolute_files(config: Config, base: Path) -> Config:
    """The config with its log and pid files as seen from the folder they are relative to."""

    def absolute(name: str) -> str:
        return name if name in ("stdout", "stderr") else str(base.resolve() / name)

    access, process = config.access_log, config.process
    return replace(
        config,
        access_log=replace(access, file=absolute(access.file)) if access else None,
        error_log=replace(config.error_log, file=absolute(config.error_log.file)),
        process=replace(process, pid_file=absolute(process.pid_file)) if process.pid_file else process,
    )


class Supervisor:
    """See the module's text. The reloader, the workers and the view call back into it; its public attributes are what they share."""

    def __init__(self, source: Source, adjust: Adjust, admin: ServeAdmin | None) -> None:
        self.began = time.time()  # for people
        self.began_monotonic = time.monotonic()
        self.path = None if isinstance(source, Config) else source.resolve()
        self._source = source
        self._adjust = adjust
        self._serve_admin = admin
        self._selector = EpollSelector()
        self.loop = asyncio.SelectorEventLoop(self._selector)
        self._actions: asyncio.Queue[Callable[[], None]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._inherited = upgrade.inherited()
        self._exit_code: int | None = None
        self._replaced_by: int | None = None  # process id of the successor, once it serves
        self._successor: upgrade.Successor | None = None
        self._counted_in: tuple[Path | None, Redis | None] = (None, None)  # where the ledgers in use are
        self.serving = False  # every worker has accepted connections once
        self.shedding = limits.Shedding()
        self.memory: limits.Memory | None = None
        loaded = self._load()
        self.log = open_error_log(loaded.config.error_log)
        self.descriptors = limits.raise_descriptors()
        count = loaded.config.process.workers or limits.cores()
        self.sockets = Sockets(count)
        self.admin_socket = self._bind(loaded)
        self._admin_bind = loaded.config.admin.bind if loaded.config.admin else ""
        self.tickets = TicketKeys(time.monotonic)
        process = loaded.config.process
        self.segment = Segment(count, process.routes_max, process.endpoints_max, process.limit_cells)
        try:
            snapshot = compile_snapshot(loaded.config, 1, self.segment, loaded.base, ticket_keys=self.tickets.all())
        except ConfigError as error:
            self.sockets.close_all()
            raise loaded.placed(error) from None
        self.current = Revision(1, loaded, snapshot)
        self.discovery = Discovery(SystemResolver(), self._name_changed, self.log)
        self.sources = Sources(lambda source, data: self.workers.send(messages.Supply(source, data)), self.log)
        # One for each ledger: either may be away.
        self.lender, self.shared_lender = (Lender(self.segment, self._granted, self._start, self.log) for _ in range(2))
        self.workers = Workers(count, self, self.loop, self._actions)
        self.reloader = Reloader(self, self._load)
        self.view = View(self)
        self._control = Control({"status": self._on_status, "reload": self._on_reload, "stop": self._on_stop})
        self._watch = Watch(self._files_changed)

    def run(self) -> int:
        """The main loop: work off actions between runs of the event loop."""
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._begin())
        self.workers.fork_all()
        while self._exit_code is None:
            action = self.loop.run_until_complete(self._actions.get())
            action()
        self._end()
        return self._exit_code

    # Starting

    def _load(self) -> Loaded:
        loaded = Loaded(config=self._source, base=Path.cwd()) if isinstance(self._source, Config) else load(self._source)
        return replace(loaded, config=with_absolute_files(self._adjust(loaded.config), loaded.base))

    def _bind(self, loaded: Loaded) -> socket | None:
        """Take over or bind every address; returns the admin socket. Raises ConfigError; then none stays bound."""
        config, given = loaded.config, self._inherited
        used = {listener.bind for listener in config.listeners}
        if given:
            self.sockets.adopt(given.sockets)
            self.sockets.close(set(given.sockets) - used, unlink=False)
        try:
            self.sockets.open(config.listeners)
            return self._bind_admin(config)
        except ConfigError as error:
            self.sockets.close_all(unlink=given is None)
            raise loaded.placed(error) from None

    def _bind_admin(self, config: Config) -> socket | None:
        inherited = self._inherited.admin_socket() if self._inherited else None
        if config.admin is None or self._serve_admin is None:
            return None
        if inherited and self._inherited and self._inherited.admin_bind == config.admin.bind:
            return inherited
        if inherited:
            inherited.close()
        try:
            return open_single(parse_bind(config.admin.bind), ADMIN_BACKLOG)
        except OSError as error:
            raise ConfigError([explain(config.admin.bind, error, "$.admin.bind")]) from None

    async def _begin(self) -> None:
        """All that needs the loop and comes before the first worker."""
        for problem in warnings(self.current.loaded):
            self.log("warning", "config-problem", problem=str(problem))
        for number, action in self._signals().items():
            self.loop.add_signal_handler(number, action)
        self.discovery.follow(self.current.hosts)
        if not await self.discovery.first(RESOLVE_TIMEOUT):
            self.log("warning", "dns-slow", hint="serving without addresses for some endpoints; they answer 503 until their names resolve")
        self.sources.follow(sources_of(self.current.snapshot))
        if late := await self.sources.first(RESOLVE_TIMEOUT):
            self.log("warning", "sources-slow", sources=late, hint="serving without them; policies that need them answer 503 until they come")
        self._count_in_store()
        await asyncio.gather(self.lender.begin(), self.shared_lender.begin())
        self._look_at_memory()
        worker.name_process("gw: supervisor")
        self.log(
            "info",
            "starting",
            version=__version__,
            workers=len(self.workers.slots),
            listeners=[self.sockets.address(listener.bind) for listener in self.current.config.listeners],
            admin=name_of(self.admin_socket) if self.admin_socket else None,
            descriptors=self.descriptors,
        )

    def _signals(self) -> dict[int, Callable[[], None]]:
        return {
            signal.SIGTERM: self._on_term,
            signal.SIGINT: self._on_term,
            signal.SIGQUIT: self._on_term,
            signal.SIGHUP: lambda: self._start(self.reload("SIGHUP")),
            signal.SIGUSR1: self._reopen_logs,
            signal.SIGUSR2: lambda: self._start(self._upgrade()),
            signal.SIGCHLD: self.workers.reap,
        }

    async def _now_serving(self) -> None:
        """Every worker accepts connections for the first time: let the operator in, tell whoever waits, start looking after things."""
        if self.path:
            await self._control.start(self.path)
        self._write_pid()
        if self._inherited:
            self._inherited.ready()
        notify.notify("READY=1", f"MAINPID={os.getpid()}")
        self.replaced()
        for work in (self._watch.run(), self._tick(), self._mind_memory(), self._watchdog()):
            self._start(work)
        self.log("info", "serving", revision=self.current.number, seconds=round(time.monotonic() - self.began_monotonic, 3))
        if self.admin_socket and self._serve_admin:
            self._warn_admin(self.admin_socket)
            self._start(self._serve_admin(self.admin_socket, self.view))

    def _write_pid(self) -> None:
        path = self.current.config.process.pid_file
        if path is None:
            return
        try:
            pidfile.write(Path(path))
        except OSError as error:
            self.log("error", "pid-file-failed", file=path, reason=error.strerror)

    def _warn_admin(self, sock: socket) -> None:
        address = name_of(sock)
        if not address.startswith(LOOPBACK):
            self.log("warning", "admin-exposed", address=address, hint="everybody who reaches this address can read metrics; 127.0.0.1 keeps it local")

    # What workers need and say

    def become(self, slot: Slot, channel: socket) -> NoReturn:
        """In the child: turn into the worker of this slot."""
        revision, core = self.current, None
        if revision.config.process.pin:
            cores = sorted(os.sched_getaffinity(0))
            core = cores[slot.index % len(cores)]
        seed = worker.Seed(
            slot=slot.index,
            segment=self.segment,
            revision=revision.number,
            config=revision.config,
            base=revision.loaded.base,
            snapshot=[revision.snapshot],
            addresses=self.addresses(revision.config),
            supplies=dict(self.sources.data),
            sockets=self.sockets.of_slot(slot.index),
            channel=channel,
            core=core,
            shed=self.shedding.on,
        )
        del self.current, revision  # the worker's copy of the snapshot lives as long as its lane wants
        self._selector.close()
        worker.main(seed)

    def started(self, child: Child) -> None:
        """A worker was forked."""
        self.reloader.joined(child)

    def heard(self, child: Child, message: messages.ToSupervisor) -> None:
        """A worker said something."""
        if isinstance(message, messages.Want):
            self.sources.want(message.source)
            return
        if isinstance(message, messages.Asked):
            (self.shared_lender if message.meter.shared else self.lender).asked(message)
            return
        if isinstance(message, messages.Report):
            level = message.fields.pop("level", "warning")
            self.log(level, message.event, worker=child.slot.index, **message.fields)
            return
        if isinstance(message, messages.Growing):
            self._look_at_memory()
            return
        if isinstance(message, messages.Ready | messages.Committed):
            child.own = max(child.own, limits.anonymous(child.pid) - self.segment.workers()[child.slot.index]["memory_bytes"])
        self.reloader.heard(child, message)
        if not self.serving and not self.workers.stopping and all(each.revision for each in self.workers.slots):
            self.serving = True
            self._start(self._now_serving())

    def ended(self, child: Child) -> None:
        """A worker is gone: what it held of endpoints and limits is given back."""
        self.segment.reset_gauges(child.slot.index)
        if self.segment.limit_cells:
            Limits(self.segment).forget_worker(child.slot.index, time.monotonic_ns() // 1000)
        self.reloader.gone(child)
        if self.workers.stopping and not self.workers.living:
            self._exit(0)
        elif not self.serving and self.workers.looping:
            self.log("error", "start-failed", reason="workers die as soon as they are started; see worker-failed and worker-exited above")
            self.workers.kill()
            self._exit(1)

    def heartbeat(self, child: Child) -> int:
        """Milliseconds on the monotonic clock at which its lane last moved."""
        return self.segment.workers()[child.slot.index]["heartbeat_ms"]

    def requests(self, slot: Slot) -> int:
        """Ended by all workers there were in this slot."""
        return self.segment.workers()[slot.index]["requests"]

    def addresses(self, config: Config) -> dict[str, list[tuple[str, int]]]:
        """What the named endpoints resolve to now."""
        return {text: [(address, port) for address in self.discovery.addresses(host)] for text, (host, port) in named_endpoints(config).items()}

    def _name_changed(self, host: str) -> None:
        for text, (name, port) in named_endpoints(self.current.config).items():
            if name == host:
                self.workers.send(messages.Addresses(text, [(address, port) for address in self.discovery.addresses(host)]))

    # Revisions

    async def reload(self, why: str) -> Any:
        """Bring the config as it is on disk now into force; the Outcome, or None when there is no file or it is too late."""
        if self.path is None or not self.serving or self.workers.stopping or self._successor:
            self.log("warning", "reload-ignored", why=why, reason="there is no config file" if self.path is None else "the start, an upgrade or the end is under way")
            return None
        return await self.reloader.reload(why)

    def _share_ticket_keys(self) -> None:
        worker.set_ticket_keys(self.current.config, self.current.snapshot, self.tickets.all())  # for workers yet to be born
        self.workers.send(messages.NewTicketKeys(self.tickets.all()))

    def replaced(self) -> None:
        """Another revision is in force: follow its files, write to its log, bring keys up to date that changed while it was prepared."""
        self._share_ticket_keys()
        if self.path and self.current.config.process.watch:
            self._watch.follow(watched(self.current.loaded, self.path))
        else:
            self._watch.follow([])
        self.log.configure(self.current.config.error_log)
        self._count_in_store()

    def _granted(self) -> None:
        self.workers.send(messages.Granted())

    def _count_in_store(self) -> None:
        """Limits that outlive gw are counted in the store of the revision in force."""
        store = self.current.config.store
        base, leases = self.current.loaded.base, self.current.snapshot.settings["leases"]
        file = base / store.file if store and store.file and leases else None
        redis = store.redis if store and leases else None
        before, self._counted_in = self._counted_in, (file, redis)
        if file != before[0]:
            self.lender.use(UsageLedger(file) if file else None)
        if redis != before[1]:
            self.shared_lender.use(RedisLedger(redis, base) if redis else None, float(redis.lease) if redis else None)

    def _files_changed(self, paths: list[Path]) -> None:
        self._start(self.reload(", ".join(str(path) for path in paths) + " changed"))

    def _reopen_logs(self) -> None:
        self.log.reopen()
        self.workers.send(messages.ReopenLogs())
        self.log("info", "logs-reopened")

    # Looking after things

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self.workers.look(time.monotonic())
            if self.tickets.rotate():
                self._share_ticket_keys()

    async def _mind_memory(self) -> None:
        while True:
            self._look_at_memory()
            await asyncio.sleep(self.shedding.interval)

    def _look_at_memory(self) -> None:
        """Share out what there is, and say whether new work is refused. Lanes are read first: what they take meanwhile then counts twice, not never."""
        workers = self.segment.workers()
        held = [figures["memory_bytes"] for figures in workers]
        unfilled = sum(max(0, held[child.slot.index] - self._filled(child)) for child in self.workers.living)
        self.memory = limits.memory()
        full = replace(self.memory, used=self.memory.used + unfilled) if self.memory else None
        for index, marks in enumerate(limits.marks(held, full)):
            self.segment.set_worker(index, memory_ask=marks.ask, memory_most=marks.most)
        if self.shedding.update(full, any(figures["shedding"] for figures in workers)):
            self._shed(unfilled)

    def _filled(self, child: Child) -> int:
        """Bytes in use of what its lane holds."""
        return limits.anonymous(child.pid) - child.own if child.own else 0

    def _shed(self, unfilled: int) -> None:
        on = self.shedding.on
        self.workers.send(messages.Shed(on))
        used, limit = (self.memory.used, self.memory.limit) if self.memory else (0, 0)
        self.log("error" if on else "info", "memory-short" if on else "memory-enough", used=used, unfilled=unfilled, limit=limit)

    async def _watchdog(self) -> None:
        interval = notify.watchdog_interval()
        while interval:
            notify.notify("WATCHDOG=1")
            await asyncio.sleep(interval)

    def _start(self, work: Coroutine[Any, Any, Any] | Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work, loop=self.loop)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.log("error", "task-failed", traceback="".join(traceback.format_exception(error)))

    # Control

    async def _on_status(self) -> dict[str, Any]:
        return self.view.status()

    async def _on_reload(self) -> Any:
        outcome = await self.reload("gw reload")
        return None if outcome is None else msgspec.to_builtins(outcome)

    async def _on_stop(self, seconds: float | None = None) -> dict[str, Any]:
        drain = float(self.current.config.process.drain) if seconds is None else seconds
        self.stop(drain, "gw stop")
        return {"pid": os.getpid(), "seconds": drain}

    # Upgrade and end

    async def _upgrade(self) -> None:
        """Hand over to a new binary, or go on as if nothing had been."""
        if self._successor or self.reloader.busy or not self.serving or self.workers.stopping:
            self.log("warning", "upgrade-ignored", reason="another upgrade, a reload, the start or the end is under way")
            return
        failure = await self._hand_over()
        self._successor = None
        if failure:
            self.log("error", "upgrade-failed", reason=failure)

    async def _hand_over(self) -> str | None:
        """None when the successor serves; otherwise why it does not."""
        admin = self.admin_socket.fileno() if self.admin_socket else -1
        try:
            self._successor = upgrade.start(self.sockets.descriptors(), admin, self._admin_bind)
        except OSError as error:
            return f"{error.strerror}: {error.filename}"
        self.log("info", "upgrade-started", successor=self._successor.pid)
        if failure := await self._successor.ready():
            return failure
        self._replaced_by = self._successor.pid
        notify.notify(f"MAINPID={self._replaced_by}")
        self.log("info", "upgraded", successor=self._replaced_by)
        self.stop(float(self.current.config.process.drain), "upgrade")
        return None

    def _on_term(self) -> None:
        if self.workers.stopping or not self.serving:
            self.log("warning", "stopping-at-once")
            self.workers.kill()
            self._exit(0)
        else:
            self.stop(float(self.current.config.process.drain), "signal")

    def stop(self, seconds: float, why: str) -> None:
        """Accept nothing more; exit when the last exchange is over, at the latest after `seconds`."""
        if self.workers.stopping:
            return
        self.log("info", "stopping", why=why, drain=seconds)
        if self._replaced_by is None:
            notify.notify("STOPPING=1")
            if self._successor:
                self._successor.kill()
        self.workers.stop(seconds)
        self.sockets.close_all(unlink=self._replaced_by is None)
        self.loop.call_later(seconds + KILL_GRACE, self.workers.kill)
        if not self.workers.living:
            self._exit(0)

    def _exit(self, code: int) -> None:
        self._actions.put_nowait(partial(setattr, self, "_exit_code", code))

    async def _give_leases_back(self) -> None:
        try:
            async with asyncio.timeout(KILL_GRACE):
                await asyncio.gather(self.lender.end(), self.shared_lender.end())
        except TimeoutError:
            self.log("warning", "leases-lost", hint="what they held counts as spent")

    def _end(self) -> None:
        self._control.stop()
        self.discovery.stop()
        self.loop.run_until_complete(self._give_leases_back())  # while what asks for some can still come to its end
        for task in self._tasks:
            task.cancel()
        if tasks := {*self._tasks, *self.sources.stop()}:
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=KILL_GRACE))
        if self.current.config.process.pid_file:
            pidfile.remove(Path(self.current.config.process.pid_file))
        self.sockets.close_all(unlink=self._replaced_by is None)
        self.log("info", "stopped")
        self.loop.close()
