"""Counters, histograms, endpoint state and cells of limits in one mapping that a supervisor and its workers share."""

from typing import Any, final

WORKER_FIELDS: tuple[str, ...]
"""Names of a worker's figures, gauges first."""
WORKER_GAUGES: tuple[str, ...]
PHASES: tuple[str, ...]
"""Phases of an exchange at which policies have hooks, in the order of life."""

@final
class Segment:
    """Make it before forking: a child shares the memory of its parent's object. Memory is taken when it is first written.

    `limit_cells`, 32 times a power of two from there up, are what gw._fast.bucket keeps limits in: 31 of 32 of them. ValueError when another size is
    below 1, MemoryError when the address space is not to be had.
    """

    def __new__(cls, workers: int, routes_max: int, endpoints_max: int, limit_cells: int = 0) -> Segment: ...
    @property
    def worker_count(self) -> int: ...
    @property
    def mapped_bytes(self) -> int:
        """Address space, not memory."""

    @property
    def limit_cells(self) -> int:
        """Cells there are for limits: 31 of 32, since one of each set keeps order in it."""

    def route_slot(self, key: bytes) -> int:
        """The slot of a route, the same in every process; claimed for good when it is new. OverflowError when all are taken."""

    def endpoint_slot(self, key: bytes) -> int:
        """As route_slot. OverflowError when all are taken."""

    def policy_slot(self, key: bytes) -> int:
        """As route_slot, for a policy with Python hooks. OverflowError when all are taken."""

    def load_slot(self, key: bytes) -> int:
        """As route_slot, for a service that load is shed for. OverflowError when all are taken, as many as endpoints."""

    def find_route(self, key: bytes) -> int | None:
        """The slot if it is claimed."""

    def find_endpoint(self, key: bytes) -> int | None: ...
    def find_policy(self, key: bytes) -> int | None: ...
    def find_load(self, key: bytes) -> int | None: ...
    def occupancy(self) -> dict[str, tuple[int, int]]:
        """Slots taken and slots there are, of `routes`, `endpoints`, `policies` and `loads`."""

    def route_totals(self, slot: int) -> dict[str, Any]:
        """A route's counters over all workers. `requests` by status // 100, `by_reason` by index of gw.errors.REASONS, `latency` and `origin` as Histogram."""

    def policy_totals(self, slot: int) -> dict[str, Any]:
        """What a policy's Python hooks took over all workers: each of PHASES as Histogram; `over` and `skipped` are calls, `quarantined` holds
        for each worker the revision that goes on without it, or 0."""

    def load_totals(self, slot: int) -> dict[str, float]:
        """Of the policy load-shed, over all workers: `limit` as learnt, and `inflight`. IndexError for a slot that is none."""

    def reason_totals(self) -> list[int]:
        """`by_reason` over all workers and all routes there ever were."""

    def workers(self) -> list[dict[str, int]]:
        """WORKER_FIELDS of every worker slot."""

    def endpoint(self, slot: int) -> dict[str, int]:
        """State and counters of an endpoint; `down_until_ms` is on CLOCK_MONOTONIC."""

    def reset_gauges(self, worker: int) -> None:
        """The worker is dead: zero its gauges and give back what it held of endpoints. Call it before its slot is filled again."""

    def set_worker(self, worker: int, **values: int) -> None:
        """Set figures by name. ValueError for an unknown one."""

    def count(
        self,
        worker: int,
        slot: int,
        status: int,
        *,
        latency_us: int = 0,
        origin_us: int | None = None,
        bytes_in: int = 0,
        bytes_out: int = 0,
        reason: int | None = None,
        retries: int = 0,
    ) -> None:
        """Count one exchange as the data plane does."""

    def count_hook(self, worker: int, slot: int, us: int, *, over: int = 0, skipped: int = 0, quarantined: int = 0) -> None:
        """What a worker counts for one call of a request hook that held it up for `us`. IndexError for a worker or slot that is not there."""

    def endpoint_begin(self, worker: int, slot: int) -> None: ...
    def endpoint_end(self, worker: int, slot: int) -> None: ...
    def endpoint_connected(self, slot: int) -> None: ...
    def endpoint_failed(self, slot: int, now_ms: int, fails_limit: int, eject_ms: int) -> bool:
        """Count a failure; True when this one put the endpoint down."""

    def endpoint_ok(self, slot: int) -> None:
        """It answered: up at once."""

def _repeat(segment: Segment, slot: int, times: int) -> None: ...
