"""The exposition by prometheus-client's own writer, a sample at a time."""

from __future__ import annotations

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest

from gw._fast.bucket import Limits
from gw.errors import REASONS
from gw.observe.metrics import BOUNDS, CLASSES, EDGES, METRICS, Observed

FAMILIES = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}


class Reference:
    """A collector in prometheus-client's sense."""

    def __init__(self, observed: Observed, now: float) -> None:
        self.seen = observed
        self.now = now
        self.families = {kind.name: FAMILIES[kind.type](kind.name, kind.text, labels=kind.labels) for kind in METRICS}

    def collect(self):
        for gather in (self.process, self.routes, self.endpoints, self.workers, self.names):
            for name, labels, value in gather():
                self.families[name].add_metric([str(label) for label in labels], value)
        return [family for family in self.families.values() if family.samples]

    def process(self):
        seen = self.seen
        yield "gw_info", [seen.version], 1
        yield "gw_revision", [], seen.revision
        yield "gw_reloads_total", [], seen.reloads
        yield "gw_reload_failures_total", [], seen.reload_failures
        yield "gw_error_log_lines_dropped_total", [], seen.error_log_dropped
        for name, value in zip(("gw_memory_used_bytes", "gw_memory_limit_bytes"), seen.memory or (), strict=False):
            yield name, [], value
        for table, (used, size) in seen.segment.occupancy().items():
            yield "gw_slots_used", [table], used
            yield "gw_slots", [table], size
        if seen.segment.limit_cells:
            limits = Limits(seen.segment)
            used = limits.occupancy(int(self.now * 1_000_000))
            yield "gw_limit_cells", ["used"], used
            yield "gw_limit_cells", ["free"], seen.segment.limit_cells - used
            yield "gw_limit_full_total", [], limits.full
        for reason, count in zip(REASONS, seen.segment.reason_totals(), strict=False):
            if count:
                yield "gw_responses_by_gateway_total", [reason.name], count

    def figures(self, per, labels, found):
        for kind in METRICS:
            if kind.per == per and kind.field and kind.type != "histogram":
                yield kind.name, labels, found[kind.field]

    def routes(self):
        for name, key in self.seen.routes.items():
            slot = self.seen.segment.find_route(key)
            totals = self.seen.segment.route_totals(slot)
            if not any(totals["requests"]):
                continue
            yield from self.figures("route", [name], totals)
            for name_of, field in (("gw_request_duration_seconds", "latency"), ("gw_origin_duration_seconds", "origin")):
                counts = [*totals[field].cumulative(EDGES), totals[field].count]
                buckets = list(zip([*map(repr, BOUNDS), "+Inf"], counts, strict=True))
                self.families[name_of].add_metric([name], buckets, totals[field].sum_us / 1_000_000)
            for status_class, count in zip(CLASSES, totals["requests"], strict=True):
                if count:
                    yield "gw_requests_total", [name, status_class], count

    def endpoints(self):
        for labels, key in self.seen.endpoints.items():
            state = self.seen.segment.endpoint(self.seen.segment.find_endpoint(key))
            yield "gw_endpoint_up", labels, state["down_until_ms"] <= self.now * 1000
            yield from self.figures("endpoint", labels, state)

    def workers(self):
        for index, found in enumerate(self.seen.segment.workers()):
            yield from self.figures("worker", [index], found)
            yield "gw_worker_restarts_total", [index], self.seen.restarts.get(index, 0)
            if found["heartbeat_ms"]:
                yield "gw_worker_heartbeat_age_seconds", [index], max(0.0, self.now * 1000 - found["heartbeat_ms"]) / 1000

    def names(self):
        for name, state in self.seen.names.items():
            yield from self.figures("name", [name], {"lookups": state.lookups, "failures": state.failures, "changes": state.changes})
            yield "gw_dns_addresses", [name], len(state.addresses)
            yield "gw_dns_failing", [name], state.failure is not None


def render(observed: Observed, now: float) -> bytes:
    return generate_latest(Reference(observed, now))
