"""One request through us: from the first byte of its head to the last byte of the answer."""
from libc.stdint cimport uint8_t, uint32_t

from gw._fast.plane cimport Exchange, LaneState
from gw._fast.stream cimport Conn


# Handlers of client connections, for the lane that accepts them.
cdef void client_event(Conn* client, uint32_t events) noexcept nogil
cdef void client_timeout(Conn* client, uint32_t events) noexcept nogil
cdef void client_close(Conn* client) noexcept nogil              # an idle or finished one
cdef bint clients_reclaim(LaneState* lane) noexcept nogil
# Host, path, route and plan of a parsed head: R_NONE, or the reason it is refused. `trace` as in router_find.
cdef uint8_t fault_reason(uint8_t fault) noexcept nogil          # R_* of a FAULT_*
cdef uint8_t exchange_route(Exchange* x, void* trace) noexcept nogil
cdef void exchange_abort(Exchange* x, uint8_t by, uint8_t reason) noexcept nogil      # both sides are cut
cdef void exchange_tunnel_ended(Exchange* x) noexcept nogil      # LaneState.tunnel_ended
# A parked exchange goes on: the hook's verdict is STEP_NEXT or STEP_ANSWER (x.own is set).
cdef void exchange_resume(Exchange* x, int verdict) noexcept nogil
cdef void exchange_free_spares(Exchange* spare) noexcept nogil
