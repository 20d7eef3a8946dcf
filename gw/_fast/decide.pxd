"""What a head asks for: host, normalised path, route, plan."""
from libc.stdint cimport uint8_t

from gw._fast.plane cimport Exchange, StepCall


cdef uint8_t fault_reason(uint8_t fault) noexcept nogil          # R_* of a FAULT_*
# Sets host, path, query, match and plan of a parsed head: R_NONE, or the reason it is refused. `trace` as in router_find.
cdef uint8_t exchange_route(Exchange* x, void* trace) noexcept nogil
cdef void classify_method(Exchange* x) noexcept nogil              # X_HEAD_REQUEST, X_IDEMPOTENT, X_CONNECT
cdef void make_id(Exchange* x) noexcept nogil
cdef void take_trusted_id(Exchange* x) noexcept nogil            # a trusted peer's own request id, if it is well-formed
# The request step that is due, the consumer's own behind the plan's; NULL when none is left. x.step is moved on.
cdef StepCall* step_due(Exchange* x) noexcept nogil
cdef bint step_goes_on(Exchange* x, const StepCall* call, int verdict) noexcept nogil     # False: x.own is the answer
cdef void allow_upgrade(Exchange* x) noexcept nogil              # sets X_UPGRADE when the plan names the protocol that is asked for
