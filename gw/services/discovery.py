"""Endpoints given by name, kept resolved in the supervisor.

What was good stays good: when a name server says NXDOMAIN, fails or is silent, the last addresses go on being used, the failure is
counted and logged once, and the question is asked again with growing distance. A name that never resolved has no addresses: its
endpoint answers 503 until it does.
"""

from __future__ import annotations

import asyncio
import ipaddress
import traceback
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from msgspec import Struct

from gw.config.address import parse_endpoint
from gw.config.model import Config, Endpoint
from gw.services.resolver import Answer

TTL_MIN = 1.0  # seconds; a TTL of 0 must not make us ask without pause
TTL_MAX = 300.0  # seconds; a moved service is found within this time even if its TTL was a week
RETRY_MIN = 1.0  # seconds after a failure; doubles
RETRY_MAX = 30.0  # seconds

Resolve = Callable[[str], Awaitable[Answer]]
Sleep = Callable[[float], Awaitable[None]]


class Log(Protocol):
    """Writes one event to the error log."""

    def __call__(self, level: str, event: str, /, **fields: object) -> None: ...


class NameState(Struct):
    """What is known of a name. `failure` is why the last lookup gave nothing, None when it gave addresses."""

    v4: tuple[str, ...] = ()
    v6: tuple[str, ...] = ()
    failure: str | None = None
    failures: int = 0
    lookups: int = 0
    changes: int = 0

    @property
    def addresses(self) -> tuple[str, ...]:
        """IPv4 first: it works in more places."""
        return self.v4 + self.v6

    def take(self, answer: Answer) -> bool:
        """Learn from an answer; True when the addresses are others than before. The order of records is no change: servers rotate it."""
        self.lookups += 1
        self.failure = answer.failure
        if answer.failure:
            self.failures += 1
            return False
        before = self.addresses
        self.v4 = self.v4 if answer.v4 is None else tuple(sorted(answer.v4))
        self.v6 = self.v6 if answer.v6 is None else tuple(sorted(answer.v6))
        changed = self.addresses != before
        self.changes += changed
        return changed


class Discovery:
    """Follows a set of names. `changed(host)` is called when a name's addresses have changed; `resolve` and `sleep` are injected by tests."""

    def __init__(self, resolve: Resolve, changed: Callable[[str], None], log: Log, sleep: Sleep = asyncio.sleep) -> None:
        self._resolve = resolve
        self._changed = changed
        self._log = log
        self._sleep = sleep
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[str, asyncio.Event] = {}
        self.names: dict[str, NameState] = {}

    def __repr__(self) -> str:
        return f"<Discovery {', '.join(f'{host}: {state.failure or len(state.addresses)}' for host, state in self.names.items())}>"

    def follow(self, hosts: Iterable[str]) -> None:
        """Follow these names and no others. Needs a running loop."""
        wanted = set(hosts)
        for host in self._tasks.keys() - wanted:
            self._tasks.pop(host).cancel()
            del self.names[host], self._asked[host]
        for host in wanted - self._tasks.keys():
            self.names[host] = NameState()
            self._asked[host] = asyncio.Event()
            self._tasks[host] = asyncio.get_running_loop().create_task(self._keep(host))

    async def first(self, timeout: float) -> bool:
        """Wait until every name was asked for once, or `timeout` seconds; True when all were."""
        waiting = [asyncio.ensure_future(event.wait()) for event in self._asked.values()]
        if not waiting:
            return True
        _, late = await asyncio.wait(waiting, timeout=timeout)
        for task in late:
            task.cancel()
        return not late

    def addresses(self, host: str) -> tuple[str, ...]:
        """Last good addresses; empty before the first."""
        state = self.names.get(host)
        return state.addresses if state else ()

    def stop(self) -> None:
        """Follow nothing."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    async def _keep(self, host: str) -> None:
        state, asked = self.names[host], self._asked[host]
        retry = RETRY_MIN
        while True:
            failing = state.failure
            answer = await self._ask(host)
            changed = state.take(answer)
            if state.failure != failing or (changed and state.changes > 1):
                self._say(host, state)
            asked.set()
            if changed:
                self._changed(host)
            if answer.failure:
                delay, retry = retry, min(RETRY_MAX, retry * 2)
            else:
                delay, retry = min(TTL_MAX, max(TTL_MIN, answer.ttl)), RETRY_MIN
            await self._sleep(delay)

    async def _ask(self, host: str) -> Answer:
        """The border of the task: a name must not go unfollowed because of a fault in the resolver."""
        try:
            return await self._resolve(host)
        except Exception:  # noqa: BLE001 - logged with its traceback, and asked again
            self._log("error", "dns-fault", host=host, traceback=traceback.format_exc())
            return Answer(failure="fault")

    def _say(self, host: str, state: NameState) -> None:
        if state.failure:
            self._log("warning", "dns-failed", host=host, reason=state.failure, addresses=list(state.addresses))
        else:
            self._log("info", "dns-resolved", host=host, addresses=list(state.addresses))


def named_endpoints(config: Config) -> dict[str, tuple[str, int]]:
    """(host, port) of every endpoint whose host is a name, by its address as written."""
    found: dict[str, tuple[str, int]] = {}
    for service in config.services.values():
        for endpoint in service.endpoints:
            text = endpoint.address if isinstance(endpoint, Endpoint) else endpoint
            address = parse_endpoint(text)
            if address.kind == "tcp" and not _is_ip(address.host):
                found[text] = (address.host, address.port)
    return found


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
