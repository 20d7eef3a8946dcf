cimport cython
from libc.stdint cimport uint64_t, uintptr_t

from gw._fast.answer cimport R_RATE_LIMITED
from gw._fast.bucket cimport LIMIT_FULL, LIMIT_PASS, limit_give_back, limit_take, limit_take_all, window_init
from gw._fast.hash cimport Hash
from gw._fast.limit cimport SEEN_REFUSED, limit_full, limit_key, limit_refuses, limit_tells, whole_seconds
from gw._fast.plane cimport STEP_NEXT, STEP_PARK, Exchange, LaneState, Park, Place
from gw._fast.shm cimport Segment
from gw._fast.step cimport waiting_add, waiting_init, waiting_remove
from gw._fast.wheel cimport timer_set


cdef void tell_client(Rates* rates, Exchange* x) noexcept nogil:
    cdef uint32_t i
    for i in range(rates.n):
        rates.telling.figures[i].remaining = rates.outs[i].remaining
        rates.telling.figures[i].reset_us = rates.outs[i].reset_us
    limit_tells(&rates.telling, x)


cdef int64_t longest_wait(const Rates* rates) noexcept nogil:
    cdef int64_t found = 0
    cdef uint32_t i
    for i in range(rates.n):
        found = max(found, rates.outs[i].retry_after_us)
    return found


cdef int limit_rate(void* self, Exchange* x) noexcept nogil:
    cdef Rates* rates = <Rates*>self
    cdef Hash key
    cdef int verdict
    if not limit_key(&rates.limit, x, &key, &verdict):
        return verdict
    verdict = limit_take_all(rates.limit.table, key, rates.windows, rates.n, rates.cost, x.lane.reactor.now_us, rates.outs)
    if verdict == LIMIT_FULL:
        return limit_full(&rates.limit, x)
    if rates.tells:
        tell_client(rates, x)
    return STEP_NEXT if verdict == LIMIT_PASS else limit_refuses(&rates.limit, x, R_RATE_LIMITED, longest_wait(rates))


cdef void its_turn(Exchange* x, bint ended) noexcept nogil:
    cdef Park* behind = x.park.next
    waiting_remove(x.park.place.line, x)
    if ended:
        move_up(x, behind)
    else:
        x.lane.resume(x, STEP_NEXT)


cdef void move_up(const Exchange* gone, Park* behind) noexcept nogil:
    """Whoever waits behind for the same takes the place before; the last one is given back, unless another worker has booked behind it."""
    cdef LaneState* lane = gone.lane
    cdef Place free = gone.park.place
    cdef LimitOut taken
    cdef int64_t due_us
    while behind != &free.line.ring:
        if behind.place.taken.cell == free.taken.cell:
            taken, due_us = behind.place.taken, behind.place.due_us
            behind.place.taken, behind.place.due_us = free.taken, free.due_us
            free.taken, free.due_us = taken, due_us
            timer_set(&lane.reactor.wheel, &behind.x.client.timer, lane.reactor.now_ms + wait_ms(behind.place.due_us - lane.reactor.now_us))
        behind = behind.next
    if free.due_us > lane.reactor.now_us:
        limit_give_back(&free.taken)


cdef inline int64_t wait_ms(int64_t wait_us) noexcept nogil:
    return max(0, wait_us + 999) // 1000


cdef inline Waiting* line_of(Queue* queue) noexcept nogil:
    return &queue.rings[(<uint64_t>(<uintptr_t>queue.out.cell >> 4) * 0x9E3779B97F4A7C15ull) >> (64 - LINE_BITS)]


cdef int throttle(void* self, Exchange* x) noexcept nogil:
    """A full bucket and its queue are one window: how far ahead of now its time has come says how long this request waits."""
    cdef Queue* queue = <Queue*>self
    cdef Hash key
    cdef int verdict
    queue.wait_us = 0
    if not limit_key(&queue.limit, x, &key, &verdict):
        return verdict
    verdict = limit_take(queue.limit.table, key, &queue.window, 1, x.lane.reactor.now_us, &queue.out)
    if verdict == LIMIT_FULL:
        return limit_full(&queue.limit, x)
    if verdict != LIMIT_PASS:
        return limit_refuses(&queue.limit, x, R_RATE_LIMITED, queue.out.retry_after_us)
    queue.wait_us = max(0, queue.out.reset_us - queue.free_us)
    if queue.wait_us == 0 or queue.limit.dry:
        return STEP_NEXT
    x.park.wait_ms = wait_ms(queue.wait_us)
    x.park.place.line = line_of(queue)
    x.park.place.taken = queue.out
    x.park.place.due_us = x.lane.reactor.now_us + queue.wait_us
    waiting_add(x.park.place.line, x, its_turn)
    return STEP_PARK


@cython.final
cdef class Lines:
    def __cinit__(self):
        cdef int i
        for i in range(LINES):
            waiting_init(&self.rings[i])


@cython.final
cdef class RateStep(LimitStep):
    def __init__(self, name: str, Segment segment not None, by: list, *, identity: bytes, missing: str, closed: bool, dry: bool, windows: list, cost: int, tells: bool) -> None:
        cdef uint32_t i
        LimitStep.__init__(self, name, segment, by)
        self._count(&self.rates.limit, identity, missing, closed, dry)
        self._labels(&self.rates.telling, [(label, burst, max(1, whole_seconds(per_us * burst // rate))) for label, rate, per_us, burst in windows])
        self.rates.n = len(windows)
        self.rates.cost = cost
        self.rates.tells = tells
        for i, (_label, rate, per_us, burst) in enumerate(windows):
            window_init(&self.rates.windows[i], rate, per_us, burst, self.rates.limit.seed)
        self.request.run = limit_rate
        self.request.self = &self.rates

    cdef str told(self, Exchange* x, int verdict):
        cdef const Rates* rates = &self.rates
        cdef uint32_t i, least = 0
        for i in range(rates.n):
            if rates.outs[i].remaining < rates.outs[least].remaining:
                least = i
        if rates.limit.seen == SEEN_REFUSED:
            return self._told(&rates.limit, x, f"none left, next in {longest_wait(rates) / 1e6:.3g} s")
        return self._told(&rates.limit, x, f"{rates.outs[least].remaining} of {rates.windows[least].burst} left")


@cython.final
cdef class ThrottleStep(LimitStep):
    def __init__(
        self, name: str, Segment segment not None, by: list, *, identity: bytes, missing: str, closed: bool, dry: bool, rate: int, per_us: int, burst: int, places: int,
        lines: Lines,
    ) -> None:
        LimitStep.__init__(self, name, segment, by)
        self._count(&self.queue.limit, identity, missing, closed, dry)
        window_init(&self.queue.window, rate, per_us, burst + places, self.queue.limit.seed)
        self.queue.free_us = burst * per_us // rate
        self.lines = lines
        self.queue.rings = lines.rings
        self.request.run = throttle
        self.request.self = &self.queue

    cdef str told(self, Exchange* x, int verdict):
        if self.queue.limit.seen == SEEN_REFUSED:
            return self._told(&self.queue.limit, x, f"no place, next in {self.queue.out.retry_after_us / 1e6:.3g} s")
        return self._told(&self.queue.limit, x, f"waits {self.queue.wait_us / 1e6:.3g} s" if self.queue.wait_us else "at once")
