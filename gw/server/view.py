"""What the supervisor lets others see: the status for `gw status`, metrics and readiness for the admin address."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec

from gw import __version__
from gw._fast.shm import PHASES
from gw.config import written_policies
from gw.config.model import Config, Endpoint, Listener
from gw.observe.metrics import CONTENT_TYPE, NO_ROUTE, Observed, render_in_turns
from gw.runtime import endpoint_key, loads_of, policy_key, route_key, route_name
from gw.server.leases import summed
from gw.server.slots import Slot
from gw.server.sockets import name_of

if TYPE_CHECKING:
    from gw.server.supervisor import Supervisor

SHOWN = ("connections", "exchanges", "requests", "tunnels")


class View:
    """Reads; changes nothing."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._loads: tuple[int, dict[tuple[str, str, str, str], bytes]] = (0, {})  # of a revision

    def alive(self) -> bool:
        """Whether any worker lives."""
        return bool(self._supervisor.workers.living)

    def unready(self) -> dict[str, Any] | None:
        """Why this process group should get no traffic, with a `reason`; None when it is ready."""
        workers, number = self._supervisor.workers, self._supervisor.current.number
        if workers.stopping:
            return {"reason": "draining"}
        missing = [slot.index for slot in workers.slots if not slot.revision]
        if missing:
            return {"reason": "workers are missing", "workers": missing}
        behind = [slot.index for slot in workers.slots if slot.revision != number]
        return {"reason": "workers serve an older revision", "workers": behind, "revision": number} if behind else None

    def metrics(self) -> tuple[AsyncIterator[bytes], str]:
        """Exposition text in pieces, and its content type."""
        this = self._supervisor
        config = this.current.config
        if self._loads[0] != this.current.number:
            self._loads = (this.current.number, loads_of(config))
        endpoints = {(name, address): endpoint_key(name, address) for name, service in config.services.items() for address in map(_address, service.endpoints)}
        observed = Observed(
            segment=this.segment,
            version=__version__,
            revision=this.current.number,
            routes={NO_ROUTE: route_key(""), **{name: route_key(name) for name in map(route_name, config.routes)}},
            endpoints=endpoints,
            policies={name: policy_key(name) for name in _policy_names(config)},
            loads=self._loads[1],
            names=dict(this.discovery.names),
            restarts={slot.index: slot.restarts for slot in this.workers.slots},
            reloads=this.reloader.done,
            reload_failures=this.reloader.failures,
            error_log_dropped=this.log.dropped,
            lent=summed([each.figures for each in (this.lender, this.shared_lender) if each.used]),
            memory=(this.memory.used, this.memory.limit) if this.memory else None,
        )
        return render_in_turns(observed), CONTENT_TYPE

    def status(self) -> dict[str, Any]:
        """Everything `gw status` shows, of plain types."""
        this = self._supervisor
        reloads = this.reloader
        return {
            "pid": os.getpid(),
            "version": __version__,
            "config": str(this.path) if this.path else None,
            "revision": this.current.number,
            "started": this.began,
            "uptime": round(time.monotonic() - this.began_monotonic, 3),
            "ready": self.unready() is None,
            "draining": this.workers.stopping,
            "shedding": this.shedding.on,
            "descriptors": this.descriptors,
            "memory": msgspec.to_builtins(this.memory),
            "workers": [self._worker(slot) for slot in this.workers.slots],
            "listeners": [self._listener(each) for each in this.current.config.listeners if each.bind in this.sockets],
            "policies": self._policies(),
            "admin": name_of(this.admin_socket) if this.admin_socket and this.admin_socket.fileno() >= 0 else None,
            "names": {host: {**msgspec.to_builtins(state), "addresses": list(state.addresses)} for host, state in this.discovery.names.items()},
            "reload": msgspec.to_builtins(reloads.last),
            "reloads": reloads.done,
            "reload_failures": reloads.failures,
        }

    def _policies(self) -> list[dict[str, Any]]:
        """What Python hooks took, of the policies that have any."""
        segment = self._supervisor.segment
        slots = {name: segment.find_policy(policy_key(name)) for name in _policy_names(self._supervisor.current.config)}
        return [self._policy(name, segment.policy_totals(slot)) for name, slot in slots.items() if slot is not None]

    def _policy(self, name: str, totals: dict[str, Any]) -> dict[str, Any]:
        phases = {phase: {"calls": totals[phase].count, "p50_us": totals[phase].quantile(0.5), "p99_us": totals[phase].quantile(0.99)} for phase in PHASES}
        quarantined = totals["quarantined"].count(self._supervisor.current.number)
        return {"name": name, **phases, "over": totals["over"], "skipped": totals["skipped"], "quarantined": quarantined}

    def _listener(self, listener: Listener) -> dict[str, Any]:
        return {"bind": listener.bind, "address": self._supervisor.sockets.address(listener.bind), "tls": listener.tls is not None}

    def _worker(self, slot: Slot) -> dict[str, Any]:
        child = slot.child
        found = {"slot": slot.index, "pid": child.pid if child else None, "revision": slot.revision, "restarts": slot.restarts}
        if child is None:
            return found
        counters = self._supervisor.segment.workers()[slot.index]
        now = time.monotonic()
        return {
            **found,
            "age": round(now - child.started, 3),
            "heartbeat_age": round(now - counters["heartbeat_ms"] / 1000, 3) if counters["heartbeat_ms"] else None,
            **{name: counters[name] for name in SHOWN},
        }


def _address(endpoint: str | Endpoint) -> str:
    return endpoint.address if isinstance(endpoint, Endpoint) else endpoint


def _policy_names(config: Config) -> list[str]:
    return list(dict.fromkeys(each.name for each in written_policies(config)))
