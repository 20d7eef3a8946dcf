cimport cython
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset

from gw._fast.answer cimport R_OVERLOADED
from gw._fast.bodies cimport bodies_forget
from gw._fast.plane cimport STEP_ANSWER, STEP_NEXT, Exchange, Hold, Identity
from gw._fast.step cimport step_holds, step_refuses


cdef void _nothing(Exchange* x, const Hold* hold) noexcept nogil:
    pass


cdef int _mark(void* self, Exchange* x) noexcept nogil:
    cdef int64_t edits = <int64_t>x.origin_edits.n << 32 | x.client_edits.n
    return STEP_NEXT if step_holds(x, _nothing, self, edits) else step_refuses(x, R_OVERLOADED, NULL, 0)


cdef int _forget(void* self, Exchange* x) noexcept nogil:
    """A credential stays presented: whoever showed one is not anonymous."""
    cdef Identity* who = &x.identity
    cdef bint presented = who.presented
    cdef uint32_t i
    for i in range(x.holds.n, 0, -1):
        if x.holds.items[i - 1].owner == self:
            x.origin_edits.n = <uint32_t>(x.holds.items[i - 1].what >> 32)
            x.client_edits.n = <uint32_t>x.holds.items[i - 1].what
            bodies_forget(x, i)
            break
    if who.release != NULL:
        who.release(who.held)
    memset(who, 0, sizeof(Identity))
    who.presented = presented
    return STEP_ANSWER


@cython.final
cdef class MarkStep(Step):
    def __init__(self, str name) -> None:
        Step.__init__(self, name)
        self.request.run = _mark
        self.request.self = &self.mark


@cython.final
cdef class ForgetStep(Step):
    def __init__(self, str name, MarkStep of not None) -> None:
        Step.__init__(self, name)
        self.of = of
        self.request.run = _forget
        self.request.self = &of.mark
