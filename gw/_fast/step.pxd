"""Base class of compiled policies, and the one every gateway needs: header edits."""
from libc.stdint cimport int64_t, uint8_t, uint32_t

from gw._fast.plane cimport STEP_ANSWER, Exchange, Hold, StepCall, Waiting


cdef class Step:
    # What the plan calls, without the GIL; run is NULL where the policy has nothing to do. A subclass sets them when it is built
    # and points `self` at memory that lives as long as the object.
    cdef StepCall request
    cdef StepCall response
    cdef StepCall done
    cdef readonly bint python   # its functions take the GIL
    cdef readonly bint watches  # takes part behind the request steps, see bodies.pxd
    # For `gw explain`, right after the request function has run: what it saw, in a few words.
    cdef str told(self, Exchange* x, int verdict)

    cdef readonly list owns     # names of request fields that only this step may set: a client's own are dropped even where an alternative passes
    cdef readonly str name      # of the policy, for logs and gw explain
    cdef public str pointer     # where its config stands; empty for a step that nobody wrote


# give_back is called when the exchange ends, in whatever way; False when there is no memory for that.
cdef bint step_holds(Exchange* x, void (*give_back)(Exchange* x, const Hold* hold) noexcept nogil, void* owner, int64_t what) noexcept nogil
cdef void holds_end(Exchange* x) noexcept nogil         # last in, first out

# Exchanges that wait. `add` puts one at the end, for `remove` to take off: first of all that `leave` does.
cdef void waiting_init(Waiting* waiting) noexcept nogil
cdef void waiting_add(Waiting* waiting, Exchange* x, void (*leave)(Exchange* x, bint ended) noexcept nogil) noexcept nogil
cdef void waiting_remove(Waiting* waiting, Exchange* x) noexcept nogil
# Calls go_on for each that waits, taken off before; who begins to wait meanwhile is not among them.
cdef void waiting_wake(Waiting* waiting, void (*go_on)(Exchange* x) noexcept nogil) noexcept nogil

# The answer of a step that refuses: a problem document with these further field lines, which live until the exchange ends.
cdef inline int step_refuses(Exchange* x, uint8_t reason, const char* fields, uint32_t n) noexcept nogil:
    x.own.reason = reason
    x.own.fields = fields
    x.own.fields_len = n
    return STEP_ANSWER
