"""A new revision goes into all workers or into none: every worker prepares it, then all commit; one failure, and all abandon.

`Rollout` decides without I/O: it is told what happened and says what stands. `Reloader` acts. Workers come and go at any moment:

    worker                     what it serves                         what the rollout does
    dies while preparing       its successor is forked on the old     `joined`: the successor has to prepare too
    dies when all committed    its successor is forked on the new     nothing is waited for
    says `failed`              the old                                everyone abandons
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from msgspec import Struct

from gw._fast.shm import Segment
from gw.config import Config, Loaded, encode
from gw.errors import ConfigError, Problem
from gw.observe import ErrorLog
from gw.runtime import Snapshot, compile_snapshot, warnings
from gw.server import channel as messages
from gw.server import notify
from gw.server.slots import Child
from gw.server.sockets import Sockets
from gw.server.sources import Sources, sources_of
from gw.server.workers import Workers
from gw.services import Discovery, named_endpoints
from gw.tls import TicketKeys

PREPARE_TIMEOUT = 60.0  # seconds; 10,000 routes compile in well under a tenth of it
COMMIT_TIMEOUT = 5.0  # seconds until a worker that has not switched is named in the log; it will, when it comes to it
RESOLVE_TIMEOUT = 2.0  # seconds that new names may hold things up


class Outcome(Struct, kw_only=True):
    """What a reload did. `revision` is the one in force after it; `restart` names changes that wait for an upgrade or restart."""

    ok: bool
    revision: int
    problems: list[Problem] = []
    restart: list[str] = []
    seconds: float = 0.0
    at: float = 0.0  # wall clock, seconds since 1970
    why: str = ""


class Revision(Struct, frozen=True):
    """What is in force: a number, the config as loaded, the snapshot compiled from it."""

    number: int
    loaded: Loaded
    snapshot: Snapshot

    @property
    def config(self) -> Config:
        return self.loaded.config

    @property
    def hosts(self) -> set[str]:
        """Names of endpoints to resolve."""
        return {host for host, _ in named_endpoints(self.config).values()}


class Rollout:
    """The prepare phase of one revision."""

    def __init__(self, revision: int, slots: Iterable[int]) -> None:
        self.revision = revision
        self.waiting = set(slots)
        self.prepared: set[int] = set()
        self.failure: str | None = None
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Rollout {self.revision} waiting={sorted(self.waiting)} prepared={sorted(self.prepared)} failure={self.failure}>"

    def joined(self, slot: int) -> None:
        """A worker was started on the old revision."""
        self.prepared.discard(slot)
        self.waiting.add(slot)

    def ready(self, slot: int, revision: int) -> None:
        """A worker has prepared; a late word about another revision does not count."""
        if revision == self.revision and slot in self.waiting:
            self.waiting.discard(slot)
            self.prepared.add(slot)
            self._news.set()

    def failed(self, slot: int, revision: int, reason: str) -> None:
        """A worker cannot use it."""
        if revision == self.revision:
            self.failure = f"worker {slot}: {reason}"
            self._news.set()

    def gone(self, slot: int) -> None:
        """A worker died: nobody waits for it; its successor will join."""
        self.waiting.discard(slot)
        self.prepared.discard(slot)
        self._news.set()

    async def settled(self, timeout: float = PREPARE_TIMEOUT) -> str | None:
        """Wait until every worker has prepared (None) or one has failed (why)."""
        try:
            async with asyncio.timeout(timeout):
                while self.waiting and not self.failure:  # between the event and our turn a worker may have joined
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return f"worker {', '.join(map(str, sorted(self.waiting)))} did not prepare within {timeout:g} s"
        return self.failure


def needs_restart(old: Config, new: Config) -> list[str]:
    """Changes that a reload cannot bring into force."""
    pairs = {
        "process.workers": (old.process.workers, new.process.workers),
        "process.routes_max": (old.process.routes_max, new.process.routes_max),
        "process.endpoints_max": (old.process.endpoints_max, new.process.endpoints_max),
        "process.limit_cells": (old.process.limit_cells, new.process.limit_cells),
        "process.pin": (old.process.pin, new.process.pin),
        "process.pid_file": (old.process.pid_file, new.process.pid_file),
        "admin": (old.admin, new.admin),
    }
    return [name for name, (before, after) in pairs.items() if before != after]


class Owner(Protocol):
    """Where the revision in force is kept."""

    log: ErrorLog
    current: Revision
    sockets: Sockets
    workers: Workers
    discovery: Discovery
    segment: Segment
    tickets: TicketKeys
    sources: Sources

    def addresses(self, config: Config) -> dict[str, list[tuple[str, int]]]: ...
    def replaced(self) -> None: ...


class Reloader:
    """Brings a newly loaded config into force, one at a time."""

    def __init__(self, owner: Owner, load: Callable[[], Loaded]) -> None:
        self._owner = owner
        self._load = load
        self._one = asyncio.Lock()
        self._committed = asyncio.Event()
        self.number = owner.current.number  # of the last revision tried
        self.rollout: Rollout | None = None
        self.last: Outcome | None = None
        self.done = 0
        self.failures = 0

    @property
    def busy(self) -> bool:
        """Whether a reload is under way."""
        return self._one.locked()

    async def reload(self, why: str) -> Outcome:
        """Load, check, compile, swap; a config with a problem changes nothing. Every problem is in the outcome and in the log."""
        async with self._one:
            began = time.monotonic()
            notify.reloading()
            before = self._owner.current.config
            problems: list[Problem] = []
            try:
                await self._bring()
            except ConfigError as error:
                problems = error.problems
            self.last = Outcome(
                ok=not problems,
                revision=self._owner.current.number,
                problems=problems,
                restart=needs_restart(before, self._owner.current.config),
                seconds=round(time.monotonic() - began, 4),
                at=time.time(),
                why=why,
            )
            notify.notify("READY=1")
            self._tell(self.last)
            return self.last

    def _tell(self, outcome: Outcome) -> None:
        self.done += outcome.ok
        self.failures += not outcome.ok
        for problem in outcome.problems:
            self._owner.log("error", "config-problem", problem=str(problem))
        for name in outcome.restart:
            self._owner.log("warning", "restart-needed", setting=name, hint="SIGUSR2 to the supervisor brings it into force without losing a connection")
        level = "info" if outcome.ok else "error"
        self._owner.log(level, "reloaded" if outcome.ok else "reload-refused", revision=outcome.revision, why=outcome.why, seconds=outcome.seconds)

    async def _bring(self) -> None:
        owner, old = self._owner, self._owner.current
        loaded = self._load()
        self.number += 1
        opened: list[str] = []
        try:
            opened = owner.sockets.open(loaded.config.listeners)
            snapshot = compile_snapshot(loaded.config, self.number, owner.segment, loaded.base, ticket_keys=owner.tickets.all())
            fresh = Revision(self.number, loaded, snapshot)
            owner.discovery.follow(old.hosts | fresh.hosts)
            owner.sources.follow(sources_of(old.snapshot) | sources_of(snapshot))
            await owner.discovery.first(RESOLVE_TIMEOUT)
            await owner.sources.first(RESOLVE_TIMEOUT)
            await self._prepare_all(fresh, opened)
        except ConfigError as error:
            owner.sockets.close(opened)
            owner.discovery.follow(old.hosts)
            owner.sources.follow(sources_of(old.snapshot))
            raise loaded.placed(error) from None
        owner.discovery.follow(fresh.hosts)
        owner.sources.follow(sources_of(snapshot))
        for problem in warnings(loaded):
            owner.log("warning", "config-problem", problem=str(problem))

    async def _prepare_all(self, fresh: Revision, opened: list[str]) -> None:
        owner = self._owner
        self.rollout = Rollout(fresh.number, (child.slot.index for child in owner.workers.living))
        base = str(fresh.loaded.base.resolve())
        supplies = owner.sources.chosen(sources_of(fresh.snapshot))
        self._prepare = messages.Prepare(fresh.number, encode(fresh.config), base, owner.addresses(fresh.config), owner.tickets.all(), supplies)
        for child in owner.workers.living:
            child.channel.send_sockets((bind, fd) for bind in opened for fd in owner.sockets.of(bind, child.slot.index))
            child.channel.send(self._prepare)
        failure = await self.rollout.settled()
        self.rollout = None
        if failure:
            owner.workers.send(messages.Abandon(fresh.number))
            raise ConfigError([Problem(message=f"the new configuration was not taken over: {failure}")])
        self._commit(fresh)
        await self._all_committed()

    def _commit(self, fresh: Revision) -> None:
        """From here on it is in force: a worker that dies now is born again on it."""
        owner, old = self._owner, self._owner.current
        owner.current = fresh
        owner.workers.send(messages.Commit(fresh.number))
        used = {listener.bind for listener in fresh.config.listeners}
        owner.sockets.close(listener.bind for listener in old.config.listeners if listener.bind not in used)
        owner.replaced()

    async def _all_committed(self) -> None:
        number = self._owner.current.number
        deadline = time.monotonic() + COMMIT_TIMEOUT
        while late := [child.slot.index for child in self._owner.workers.living if child.revision != number]:
            self._committed.clear()
            try:
                await asyncio.wait_for(self._committed.wait(), deadline - time.monotonic())
            except TimeoutError:
                self._owner.log("warning", "commit-late", workers=late, revision=number)
                return

    def joined(self, child: Child) -> None:
        """A worker was started, on the revision in force."""
        if self.rollout:
            self.rollout.joined(child.slot.index)
            child.channel.send(self._prepare)

    def gone(self, child: Child) -> None:
        """A worker has ended."""
        if self.rollout:
            self.rollout.gone(child.slot.index)
        self._committed.set()

    def heard(self, child: Child, message: messages.ToSupervisor) -> None:
        """What a worker says about a revision."""
        match message:
            case messages.Ready(revision=revision) | messages.Committed(revision=revision):
                child.revision = revision
                self._committed.set()
            case messages.Prepared(revision=revision) if self.rollout:
                self.rollout.ready(child.slot.index, revision)
            case messages.Failed(revision=revision, reason=reason) if self.rollout:
                self.rollout.failed(child.slot.index, revision, reason)
