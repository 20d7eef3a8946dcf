"""Prometheus text from the shared segment; a scrape touches no worker. `python -m gw.observe.metrics > docs/metrics.md` writes the page.

METRICS is the one place where a metric has its name; a metric with a `field` is read from the figure of that name in the segment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, Literal, Protocol

from msgspec import Struct

from gw._fast.bucket import Limits
from gw._fast.hist import Histogram, nearest_edge
from gw._fast.shm import PHASES, Segment
from gw.errors import REASONS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NO_ROUTE = "(no route)"
BOUNDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds
EDGES = [nearest_edge(round(bound * 1_000_000)) for bound in BOUNDS]
TURN = 64  # routes or endpoints written before others get their turn
CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")


class Kind(Struct, frozen=True):
    """A metric. `per` is whose figure it is and its first label; `field` the figure's name in the segment."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    text: str
    per: Literal["route", "worker", "endpoint", "policy", "load", "name", ""] = ""
    field: str = ""
    labels: tuple[str, ...] = ()


def _of(per: Any, type: Any, *rows: tuple[str, str, str], labels: tuple[str, ...]) -> list[Kind]:
    return [Kind(name, type, text, per, field, labels) for name, field, text in rows]


METRICS: tuple[Kind, ...] = (
    Kind("gw_info", "gauge", "1, with the version of gw.", labels=("version",)),
    Kind("gw_revision", "gauge", "Revision of the configuration in force."),
    Kind("gw_reloads_total", "counter", "Reloads that took effect."),
    Kind("gw_reload_failures_total", "counter", "Reloads refused; the configuration before stays in force."),
    Kind("gw_requests_total", "counter", "Exchanges that ended, by class of the status sent; `none` where no status was.", "route", labels=("route", "status_class")),
    Kind("gw_responses_by_gateway_total", "counter", "Exchanges that gw ended or that were cut short, by reason.", labels=("reason",)),
    *_of(
        "route",
        "counter",
        ("gw_request_body_bytes_total", "bytes_in", "Bytes of request bodies."),
        ("gw_response_body_bytes_total", "bytes_out", "Bytes of response bodies sent."),
        ("gw_retries_total", "retries", "Further endpoints tried."),
        ("gw_upgrades_total", "upgrades", "Connections upgraded."),
        ("gw_client_closed_total", "client_closed", "Exchanges whose client went away before the end."),
        labels=("route",),
    ),
    *_of(
        "route",
        "histogram",
        ("gw_request_duration_seconds", "latency", "From the first byte of the request to the last of the answer; upgraded connections until the upgrade."),
        ("gw_origin_duration_seconds", "origin", "From the request's head sent to the endpoint to the head of its answer."),
        labels=("route",),
    ),
    *_of(
        "endpoint",
        "gauge",
        ("gw_endpoint_up", "", "0 while the endpoint is left alone after failures."),
        ("gw_endpoint_inflight", "inflight", "Exchanges on it now."),
        labels=("service", "endpoint"),
    ),
    *_of(
        "endpoint",
        "counter",
        ("gw_endpoint_requests_total", "requests", "Exchanges sent to it."),
        ("gw_endpoint_failures_total", "failures", "Exchanges that failed on it."),
        ("gw_endpoint_connects_total", "connects", "Connections opened to it."),
        ("gw_endpoint_ejections_total", "ejections", "Times it was put aside."),
        labels=("service", "endpoint"),
    ),
    *_of(
        "worker",
        "gauge",
        ("gw_worker_connections", "connections", "Client connections, idle ones included."),
        ("gw_worker_exchanges", "exchanges", "Requests in flight."),
        ("gw_worker_tunnels", "tunnels", "Upgraded connections."),
        ("gw_worker_origin_connections", "origins", "Connections to endpoints, idle ones included."),
        ("gw_worker_idle_origin_connections", "idle_origins", "Connections to endpoints that wait for a request."),
        ("gw_worker_buffer_bytes", "buffer_bytes", "Memory held by buffers in use."),
        ("gw_worker_memory_bytes", "memory_bytes", "Memory its data plane holds: buffers, exchanges, and an estimate for each connection."),
        ("gw_worker_accept_paused", "accept_paused", "1 while it is out of descriptors and accepts nothing."),
        ("gw_worker_shedding", "shedding", "1 while it refuses new work because memory is short."),
        ("gw_worker_revision", "revision", "Revision it serves new requests with."),
        ("gw_worker_heartbeat_age_seconds", "", "Time since its data plane last ran; absent before the first time."),
        labels=("worker",),
    ),
    *_of(
        "worker",
        "counter",
        ("gw_worker_restarts_total", "", "Times a worker was started again."),
        ("gw_connections_accepted_total", "accepted", "Client connections accepted."),
        ("gw_connections_refused_total", "refused", "Client connections closed at once: over a limit, or no memory."),
        ("gw_accept_pauses_total", "accept_pauses", "Times accepting stopped for want of descriptors."),
        ("gw_worker_sheds_total", "sheds", "Times it began to refuse new work because memory is short."),
        ("gw_dry_run_refusals_total", "dry_refusals", "Requests that a policy with `dry_run` would have refused."),
        ("gw_parse_errors_total", "parse_errors", "Requests that are not valid HTTP/1.1."),
        ("gw_tls_handshakes_total", "tls_handshakes", "TLS handshakes with clients."),
        ("gw_tls_failures_total", "tls_failures", "TLS handshakes with clients that failed."),
        ("gw_hook_calls_total", "hook_calls", "Python hooks run."),
        ("gw_hook_errors_total", "hook_errors", "Python hooks that raised."),
        ("gw_hook_slow_total", "hook_slow", "Python hooks that blocked longer than `process.hook_warn`."),
        ("gw_log_lines_total", "log_lines", "Access-log lines taken."),
        ("gw_log_lines_dropped_total", "log_dropped", "Access-log lines lost because the file or pipe took no more."),
        ("gw_lane_runs_total", "drains", "Runs of the data plane."),
        labels=("worker",),
    ),
    Kind("gw_policy_seconds", "histogram", "How long a call of a Python hook, or a turn of an asynchronous one, held a worker up.", "policy", labels=("policy", "phase")),
    *_of(
        "policy",
        "counter",
        ("gw_policy_over_budget_total", "over", "Of these: longer than the policy's budget."),
        ("gw_policy_skipped_total", "skipped", "Calls not made, because the policy was quarantined."),
        labels=("policy",),
    ),
    Kind("gw_policy_quarantined", "gauge", "Workers that set the policy aside until the next reload.", "policy", labels=("policy",)),
    *_of(
        "load",
        "gauge",
        ("gw_load_shed_limit", "limit", "Requests that `load-shed` lets through to a service at once, as learnt so far: of all workers, which learn each by itself."),
        ("gw_load_shed_inflight", "inflight", "Requests in flight that count against it."),
        labels=("service", "least", "most", "tolerance"),
    ),
    Kind("gw_error_log_lines_dropped_total", "counter", "Error-log lines of the supervisor lost because the file or pipe took no more."),
    Kind("gw_memory_used_bytes", "gauge", "Memory in use in the cgroup with the tightest limit; absent without a limit."),
    Kind("gw_memory_limit_bytes", "gauge", "Memory limit of that cgroup; absent without a limit."),
    *_of(
        "name",
        "counter",
        ("gw_dns_lookups_total", "lookups", "Lookups of an endpoint's name."),
        ("gw_dns_failures_total", "failures", "Lookups that failed; the last good addresses stay in use."),
        ("gw_dns_changes_total", "changes", "Times its addresses changed."),
        labels=("name",),
    ),
    *_of(
        "name",
        "gauge",
        ("gw_dns_addresses", "", "Addresses in use."),
        ("gw_dns_failing", "", "1 while the last lookup has failed."),
        labels=("name",),
    ),
    Kind("gw_slots_used", "gauge", "Slots of the shared tables taken, never given back before a restart.", labels=("table",)),
    Kind("gw_slots", "gauge", "Slots of the shared tables: `process.routes_max`, `process.endpoints_max` (loads too), and of policies with Python hooks.", labels=("table",)),
    Kind("gw_limit_cells", "gauge", "Cells of `process.limit_cells`: `used` by a key that is not idle, or `free`.", labels=("state",)),
    Kind("gw_limit_full_total", "counter", "Times a limit found no cell for a key."),
    Kind("gw_lease_grants_total", "counter", "Leases granted of limits that a ledger counts."),
    Kind("gw_lease_units_total", "counter", "Units of these leases."),
    Kind("gw_lease_returned_units_total", "counter", "Units of these that nobody spent."),
    Kind("gw_lease_refusals_total", "counter", "Times that there was nothing for a key."),
    Kind("gw_leases", "gauge", "Leases that have not ended."),
    Kind("gw_ledger_failures_total", "counter", "Times that the ledger could not be asked."),
    Kind("gw_ledger_away", "gauge", "1 while the ledger cannot be asked: limits go on as their `away` says."),
)


class Resolved(Protocol):
    """What is known of an endpoint's name."""

    lookups: int
    failures: int
    changes: int
    failure: str | None

    @property
    def addresses(self) -> tuple[str, ...]: ...


class Lent(Protocol):
    """What was granted of limits that a ledger counts."""

    grants: int
    units: int
    returned: int
    refusals: int
    failures: int
    leases: int
    away: bool


class Observed(Struct, frozen=True):
    """What a scrape shows. Routes, endpoints and policies are those of the revision in force, with their keys in the segment."""

    segment: Segment
    version: str
    revision: int
    routes: Mapping[str, bytes]
    endpoints: Mapping[tuple[str, str], bytes]  # by service and address
    policies: Mapping[str, bytes] = {}
    loads: Mapping[tuple[str, str, str, str], bytes] = {}  # by service, and what `load-shed` learns with
    names: Mapping[str, Resolved] = {}
    restarts: Mapping[int, int] = {}  # by worker
    reloads: int = 0
    reload_failures: int = 0
    error_log_dropped: int = 0
    memory: tuple[int, int] | None = None  # used, limit
    lent: Lent | None = None  # None: no limit is counted by a ledger


def render(observed: Observed, now: float | None = None) -> bytes:
    """The exposition. `now` is time.monotonic(). Routes and endpoints that nothing was counted for yet are left out, but for an endpoint's state."""
    exposition = Exposition(observed, time.monotonic() if now is None else now)
    for _ in exposition.work():
        pass
    return b"".join(exposition.pieces())


async def render_in_turns(observed: Observed) -> AsyncIterator[bytes]:
    """As render, in pieces, and others on the loop get their turn meanwhile. It takes no thread, because the supervisor forks."""
    exposition = Exposition(observed, time.monotonic())
    for _ in exposition.work():
        await asyncio.sleep(0)
    for piece in exposition.pieces():
        yield piece


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _labels(names: tuple[str, ...], values: Iterable[str]) -> str:
    return ",".join([f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True)])


def _shape(name: str) -> str:
    """The lines of one histogram, to be filled with its labels, the counts of its buckets and its sum."""
    buckets = [f'{name}_bucket{{{{{{0}},le="{le}"}}}} {{{place}}}\n' for place, le in enumerate(LE, 1)]
    return "".join([*buckets, f"{name}_count{{{{{{0}}}}}} {{{len(LE)}}}\n", f"{name}_sum{{{{{{0}}}}}} {{{len(LE) + 1}!r}}\n"])


LE = [*map(repr, BOUNDS), "+Inf"]
SHAPES = {kind.name: _shape(kind.name) for kind in METRICS if kind.type == "histogram"}
HEADERS = {kind.name: f"# HELP {kind.name} {kind.text}\n# TYPE {kind.name} {kind.type}\n".encode() for kind in METRICS}
FIGURES = {per: [kind for kind in METRICS if kind.per == per and kind.field] for per in ("route", "worker", "endpoint", "policy", "load", "name")}


class Exposition:
    """The text, in the order of METRICS; `work` writes it, a turn at a time."""

    def __init__(self, observed: Observed, now: float) -> None:
        self._seen = observed
        self._now_ms = now * 1000
        self._lines: dict[str, list[bytes]] = {kind.name: [] for kind in METRICS}

    def pieces(self) -> Iterator[bytes]:
        """What was written; at most some hundred kilobytes at a time."""
        for name, lines in self._lines.items():
            if lines:
                yield HEADERS[name]
            for start in range(0, len(lines), TURN):
                yield b"".join(lines[start : start + TURN])

    def work(self) -> Iterator[None]:
        """Yields every few milliseconds."""
        self._process()
        self._workers()
        self._names()
        self._limits()
        for count, (name, key) in enumerate(self._seen.routes.items()):
            self._route(name, key)
            if count % TURN == 0:
                yield
        for count, (labels, key) in enumerate(self._seen.endpoints.items()):
            self._endpoint(labels, key)
            if count % TURN == 0:
                yield
        for name, key in self._seen.policies.items():
            self._policy(name, key)
        for values, key in self._seen.loads.items():
            self._load(values, key)
        self._reasons()  # last: what routes are in memory is known by now

    def _add(self, name: str, labels: str, value: float) -> None:
        self._lines[name].append((f"{name}{{{labels}}} {+value!r}\n" if labels else f"{name} {+value!r}\n").encode())

    def _histogram(self, name: str, labels: str, value: Histogram) -> None:
        """Bucket bounds are off by at most 6.25 %: the edge that lies nearest (gw._fast.hist)."""
        self._lines[name].append(SHAPES[name].format(labels, *value.cumulative(EDGES), value.count, value.sum_us / 1_000_000).encode())

    def _process(self) -> None:
        seen, add = self._seen, self._add
        add("gw_info", _labels(("version",), [seen.version]), 1)
        add("gw_revision", "", seen.revision)
        add("gw_reloads_total", "", seen.reloads)
        add("gw_reload_failures_total", "", seen.reload_failures)
        add("gw_error_log_lines_dropped_total", "", seen.error_log_dropped)
        if seen.memory:
            add("gw_memory_used_bytes", "", seen.memory[0])
            add("gw_memory_limit_bytes", "", seen.memory[1])
        for table, (used, size) in seen.segment.occupancy().items():
            add("gw_slots_used", f'table="{table}"', used)
            add("gw_slots", f'table="{table}"', size)

    def _reasons(self) -> None:
        """Over all routes there ever were, because a counter must not fall when a reload removes one."""
        for reason, count in zip(REASONS, self._seen.segment.reason_totals(), strict=False):
            if count:
                self._add("gw_responses_by_gateway_total", f'reason="{reason.name}"', count)

    def _route(self, name: str, key: bytes) -> None:
        slot = self._seen.segment.find_route(key)
        totals = self._seen.segment.route_totals(slot) if slot is not None else None
        if totals is None or not any(totals["requests"]):
            return
        labels = _labels(("route",), [name])
        self._figures("route", labels, totals)
        for status_class, count in zip(CLASSES, totals["requests"], strict=True):
            if count:
                self._add("gw_requests_total", f'{labels},status_class="{status_class}"', count)

    def _endpoint(self, values: tuple[str, str], key: bytes) -> None:
        slot = self._seen.segment.find_endpoint(key)
        if slot is None:
            return
        state = self._seen.segment.endpoint(slot)
        labels = _labels(("service", "endpoint"), values)
        self._add("gw_endpoint_up", labels, state["down_until_ms"] <= self._now_ms)
        self._figures("endpoint", labels, state)

    def _policy(self, name: str, key: bytes) -> None:
        slot = self._seen.segment.find_policy(key)
        if slot is None:
            return
        totals = self._seen.segment.policy_totals(slot)
        labels = _labels(("policy",), [name])
        for phase in PHASES:
            if totals[phase].count:
                self._histogram("gw_policy_seconds", f'{labels},phase="{phase}"', totals[phase])
        self._figures("policy", labels, totals)
        self._add("gw_policy_quarantined", labels, totals["quarantined"].count(self._seen.revision))

    def _load(self, values: tuple[str, ...], key: bytes) -> None:
        slot = self._seen.segment.find_load(key)
        if slot is not None:
            self._figures("load", _labels(("service", "least", "most", "tolerance"), values), self._seen.segment.load_totals(slot))

    def _workers(self) -> None:
        for index, figures in enumerate(self._seen.segment.workers()):
            labels = f'worker="{index}"'
            self._figures("worker", labels, figures)
            self._add("gw_worker_restarts_total", labels, self._seen.restarts.get(index, 0))
            if figures["heartbeat_ms"]:
                self._add("gw_worker_heartbeat_age_seconds", labels, max(0.0, self._now_ms - figures["heartbeat_ms"]) / 1000)

    def _names(self) -> None:
        for name, state in self._seen.names.items():
            labels = _labels(("name",), [name])
            self._figures("name", labels, {"lookups": state.lookups, "failures": state.failures, "changes": state.changes})
            self._add("gw_dns_addresses", labels, len(state.addresses))
            self._add("gw_dns_failing", labels, state.failure is not None)

    def _limits(self) -> None:
        if not self._seen.segment.limit_cells:
            return
        limits = Limits(self._seen.segment)
        used = limits.occupancy(int(self._now_ms * 1000))
        self._add("gw_limit_cells", 'state="used"', used)
        self._add("gw_limit_cells", 'state="free"', self._seen.segment.limit_cells - used)
        self._add("gw_limit_full_total", "", limits.full)
        self._lent()

    def _lent(self) -> None:
        lent, add = self._seen.lent, self._add
        if lent is None:
            return
        add("gw_lease_grants_total", "", lent.grants)
        add("gw_lease_units_total", "", lent.units)
        add("gw_lease_returned_units_total", "", lent.returned)
        add("gw_lease_refusals_total", "", lent.refusals)
        add("gw_leases", "", lent.leases)
        add("gw_ledger_failures_total", "", lent.failures)
        add("gw_ledger_away", "", lent.away)

    def _figures(self, per: str, labels: str, figures: Mapping[str, Any]) -> None:
        for kind in FIGURES[per]:
            put = self._histogram if kind.type == "histogram" else self._add
            put(kind.name, labels, figures[kind.field])


INTRODUCTION = """\
# Metrics

`GET /metrics` on the admin address, in the Prometheus text format. The supervisor reads shared memory: a scrape does not disturb a worker, and
counters go on when a worker is replaced. Series are bounded by the configuration in force: there is one set for each of its routes that saw a
request, and one for each of its endpoints; no label holds anything a client sent. What no route took counts under `route="{no_route}"`.

Durations are measured into buckets 12.5 % wide and shown in {count} of them, {bounds} seconds; a bound is off by at most 6.25 %.
"""


def page() -> str:
    """docs/metrics.md."""
    head = INTRODUCTION.format(no_route=NO_ROUTE, count=len(BOUNDS), bounds=", ".join(f"{bound:g}" for bound in BOUNDS))
    rows = [f"| `{kind.name}` | {kind.type} | {', '.join(f'`{label}`' for label in kind.labels)} | {kind.text} |" for kind in METRICS]
    return "\n".join([head, "| metric | type | labels | meaning |", "|---|---|---|---|", *rows, ""])


if __name__ == "__main__":
    print(page(), end="")
