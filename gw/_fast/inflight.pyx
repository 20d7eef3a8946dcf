cimport cython

from gw._fast.answer cimport R_OVERLOADED, R_TOO_MANY_IN_FLIGHT
from gw._fast.bucket cimport LIMIT_FULL, LIMIT_PASS, inflight_enter, inflight_leave
from gw._fast.hash cimport Hash
from gw._fast.limit cimport limit_full, limit_key, limit_refuses
from gw._fast.plane cimport STEP_NEXT, Exchange, Hold
from gw._fast.shm cimport Segment
from gw._fast.step cimport step_holds, step_refuses

cdef enum: RETRY_US = 1000000   # nobody knows when one ends: the least that Retry-After can say


cdef void leave(Exchange* x, const Hold* hold) noexcept nogil:
    inflight_leave((<Inflight*>hold.owner).limit.table, x.lane.worker, <uint32_t>hold.what, x.lane.reactor.now_us)


cdef int enter(void* self, Exchange* x) noexcept nogil:
    cdef Inflight* inflight = <Inflight*>self
    cdef Hash key
    cdef int verdict
    if not limit_key(&inflight.limit, x, &key, &verdict):
        return verdict
    verdict = inflight_enter(inflight.limit.table, x.lane.worker, key, inflight.most, x.lane.reactor.now_us, &inflight.out)
    if verdict == LIMIT_FULL:
        return limit_full(&inflight.limit, x)
    if verdict != LIMIT_PASS:
        return limit_refuses(&inflight.limit, x, R_TOO_MANY_IN_FLIGHT, RETRY_US)
    if not step_holds(x, leave, inflight, inflight.out.cell):
        inflight_leave(inflight.limit.table, x.lane.worker, inflight.out.cell, x.lane.reactor.now_us)
        return step_refuses(x, R_OVERLOADED, NULL, 0)
    return STEP_NEXT


@cython.final
cdef class ConcurrencyStep(LimitStep):
    def __init__(self, name: str, Segment segment not None, by: list, *, identity: bytes, missing: str, closed: bool, dry: bool, most: int) -> None:
        LimitStep.__init__(self, name, segment, by)
        self._count(&self.inflight.limit, identity, missing, closed, dry)
        self.inflight.most = most
        self.request.run = enter
        self.request.self = &self.inflight

    cdef str told(self, Exchange* x, int verdict):
        return self._told(&self.inflight.limit, x, f"{self.inflight.out.count} of {self.inflight.most} in flight")
