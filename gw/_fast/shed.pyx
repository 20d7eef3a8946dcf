cimport cython
import os

from cpython.bytes cimport PyBytes_AS_STRING
from libc.math cimport sqrt
from libc.string cimport memcpy

from gw._fast.answer cimport R_CONNECT_TIMEOUT, R_ORIGIN_TIMEOUT, R_OVERLOADED, R_POOL_FULL, R_SHED
from gw._fast.hash cimport hash_key
from gw._fast.plane cimport BY_ORIGIN, STEP_NEXT, X_TUNNEL, Exchange, Hold
from gw._fast.selector cimport selector_key
from gw._fast.shm cimport Segment, shm_load
from gw._fast.step cimport step_holds, step_refuses

PRIORITIES = ("low", "normal", "high", "critical")

cdef enum:
    WINDOW_US = 100000
    WINDOW_SAMPLES = 10
    PROBE_US = 30000000
    PROBE_SAMPLES = 5
    PROBE_MAX_US = 5000000          # a probe that nobody answers ends, and changes nothing
    INITIAL = 20

cdef double[4] SHARES = [0.6, 0.8, 0.95, 1.0]     # of the limit that requests of a level may fill: the rest is kept for those above
cdef double NEWEST = 0.2            # weight of a window
cdef double BACK_OFF = 0.9


cdef inline double bounded(double value, double least, double most) noexcept nogil:
    return least if value < least else most if value > most else value


cdef bint load_enter(Load* load, uint32_t level, int64_t now_us) noexcept nogil:
    cdef double room = (load.probe_room if load.probe_us else load.limit) * SHARES[level]
    if load.window_us == 0:
        load.window_us = load.probed_us = now_us
    if load.inflight and load.inflight + 1 > room:      # one may always try
        return False
    counted(load, load.inflight + 1)
    load.peak = max(load.peak, load.inflight)
    return True


cdef inline void counted(Load* load, uint32_t inflight) noexcept nogil:
    load.inflight = inflight
    if load.shown != NULL:
        load.shown.inflight = inflight


cdef void begin_probe(Load* load, int64_t now_us) noexcept nogil:
    load.probe_us = now_us
    load.probe_room = max(load.least, load.peak / 2.0)
    load.probe_samples = 0
    load.probe_sum_us = 0


cdef void probe(Load* load, int64_t began_us, int64_t latency_us, int64_t now_us) noexcept nogil:
    if latency_us >= 0 and began_us >= load.probe_us:
        load.probe_samples += 1
        load.probe_sum_us += latency_us
    if load.probe_samples >= PROBE_SAMPLES:
        load.base_us = load.probe_sum_us / load.probe_samples
    elif now_us - load.probe_us <= PROBE_MAX_US:
        return
    load.probe_us = 0
    load.probed_us = now_us


cdef void judge(Load* load, double latency, int64_t now_us) noexcept nogil:
    """The mean latency of a window."""
    cdef double gradient
    if load.base_us == 0 or latency < load.base_us:
        load.base_us = latency
    gradient = bounded(load.tolerance * load.base_us / latency, 0.5, 1.0) if latency > 0 else 1.0
    if gradient < 1.0 or 2 * load.peak > load.limit:
        load.limit += NEWEST * (load.limit * gradient + sqrt(load.limit) - load.limit)
    if gradient < 1.0 and now_us - load.probed_us > PROBE_US:
        begin_probe(load, now_us)


cdef void end_window(Load* load, int64_t now_us) noexcept nogil:
    if load.overloaded:
        load.limit *= BACK_OFF
    elif load.samples and not load.probe_us:
        judge(load, load.sum_us / load.samples, now_us)
    load.limit = bounded(load.limit, load.least, load.most)
    if load.shown != NULL:
        load.shown.limit = load.limit
    load.window_us = now_us
    load.samples = 0
    load.sum_us = 0
    load.overloaded = 0
    load.peak = load.inflight


cdef void load_leave(Load* load, int64_t began_us, int64_t latency_us, int64_t now_us) noexcept nogil:
    counted(load, load.inflight - 1)
    if latency_us >= 0:
        load.samples += 1
        load.sum_us += latency_us
    elif latency_us == LATENCY_OVERLOAD:
        load.overloaded = 1
    if load.probe_us:
        probe(load, began_us, latency_us, now_us)
    if now_us - load.window_us >= WINDOW_US and (load.samples >= WINDOW_SAMPLES or load.overloaded):
        end_window(load, now_us)


# The step

cdef uint8_t level_of(const Shed* shed, Exchange* x) noexcept nogil:
    cdef Hash key
    cdef uint32_t i
    if shed.n_values and selector_key(shed.parts, shed.n_parts, x, shed.seed, &key):
        for i in range(shed.n_values):
            if shed.values[i].lo == key.lo and shed.values[i].hi == key.hi:
                return shed.levels[i]
    return shed.level


cdef int64_t latency_of(const Exchange* x) noexcept nogil:
    """Until the head of the origin's answer: how long the body takes is up to its size and to the client."""
    if x.by == BY_ORIGIN and x.status == 503 or x.reason in (R_ORIGIN_TIMEOUT, R_CONNECT_TIMEOUT, R_POOL_FULL):
        return LATENCY_OVERLOAD
    return x.answered_us - x.sent_us if x.by == BY_ORIGIN and not x.flags & X_TUNNEL else LATENCY_NONE


cdef void leave(Exchange* x, const Hold* hold) noexcept nogil:
    load_leave(<Load*>hold.owner, hold.what, latency_of(x), x.lane.reactor.now_us)


cdef int turned_away(Shed* shed, Exchange* x) noexcept nogil:
    shed.refused = 1
    if not shed.dry:
        return step_refuses(x, R_SHED, NULL, 0)
    x.lane.stats.dry_refusals += 1
    x.dry_reason = R_SHED
    return STEP_NEXT


cdef int admit(void* self, Exchange* x) noexcept nogil:
    cdef Shed* shed = <Shed*>self
    cdef int64_t now_us = x.lane.reactor.now_us
    cdef int verdict = STEP_NEXT
    shed.seen = level_of(shed, x)
    shed.refused = 0
    if not load_enter(shed.load, shed.seen, now_us):
        verdict = turned_away(shed, x)
        if not shed.dry:
            return verdict
        counted(shed.load, shed.load.inflight + 1)      # it goes on all the same, and is measured
    if not step_holds(x, leave, shed.load, now_us):
        counted(shed.load, shed.load.inflight - 1)
        return step_refuses(x, R_OVERLOADED, NULL, 0)
    return verdict


@cython.final
cdef class Shedder:
    def __cinit__(self, double least, double most, double tolerance):
        if not (1 <= least <= most and tolerance >= 1):
            raise ValueError(f"a limit lies between 1 and {most}, a tolerance is at least 1; got {least} and {tolerance}")
        self.load.least = least
        self.load.most = most
        self.load.tolerance = tolerance
        self.load.limit = bounded(INITIAL, least, most)

    cdef void show(self, Segment segment, int worker, int slot) noexcept:
        self.segment = segment
        self.load.shown = shm_load(segment, worker, slot)
        self.load.shown.limit = self.load.limit
        self.load.shown.inflight = self.load.inflight

    def enter(self, str priority, int64_t now_us):
        return load_enter(&self.load, PRIORITIES.index(priority), now_us)

    def leave(self, int64_t began_us, latency_us, int64_t now_us, bint overloaded=False):
        if self.load.inflight == 0:
            raise IndexError("nothing is in flight")
        load_leave(&self.load, began_us, LATENCY_OVERLOAD if overloaded else LATENCY_NONE if latency_us is None else <int64_t>latency_us, now_us)

    @property
    def limit(self):
        return self.load.limit

    @property
    def base_us(self):
        return self.load.base_us

    @property
    def inflight(self):
        return self.load.inflight

    @property
    def probing(self):
        return self.load.probe_us != 0


@cython.final
cdef class ShedStep(Step):
    def __init__(self, name: str, Shedder shedder not None, *, priority: str, by: str | None, priorities: dict, dry: bool, slot: int = -1) -> None:
        cdef bytes random = os.urandom(sizeof(Hash))        # who cannot know it cannot make a value look like another
        cdef bytes text
        cdef uint32_t i
        Step.__init__(self, name)
        if len(priorities) > VALUES_MAX:
            raise ValueError(f"at most {VALUES_MAX} values can say a priority, not {len(priorities)}")
        self.shedder = shedder
        self.slot = slot
        self.shed.load = &shedder.load
        self.shed.level = PRIORITIES.index(priority)
        self.shed.dry = dry
        if by is not None:
            self.selector = Selector(by)
            self.shed.parts = self.selector.parts
            self.shed.n_parts = self.selector.n
        memcpy(&self.shed.seed, PyBytes_AS_STRING(random), sizeof(Hash))
        for i, (value, level) in enumerate(priorities.items()):
            text = value.encode()
            self.shed.values[i] = hash_key(PyBytes_AS_STRING(text), len(text), self.shed.seed)
            self.shed.levels[i] = PRIORITIES.index(level)
        self.shed.n_values = len(priorities)
        self.request.run = admit
        self.request.self = &self.shed

    def count_in(self, Segment segment not None, int worker) -> None:
        if self.slot >= 0:
            self.shedder.show(segment, worker, self.slot)

    cdef str told(self, Exchange* x, int verdict):
        cdef const Load* load = self.shed.load
        done = ("would be shed, " if self.shed.dry else "shed, ") if self.shed.refused else ""
        return f"{done}{load.inflight} of {load.limit:.0f} in flight, priority {PRIORITIES[self.shed.seen]}{', measuring without load' if load.probe_us else ''}"
