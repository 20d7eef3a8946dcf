"""Birth and end of exchanges, and the answers that gw makes itself."""
from libc.stdint cimport uint8_t

from gw._fast.plane cimport Exchange, LaneState
from gw._fast.stream cimport Conn


cdef Exchange* exchange_new(LaneState* lane, Conn* client) noexcept nogil     # NULL: out of memory
cdef void exchange_finish(Exchange* x) noexcept nogil                         # the answer left whole
cdef void exchange_abort(Exchange* x, uint8_t by, uint8_t reason) noexcept nogil      # both sides are cut
cdef void exchange_tunnel_ended(Exchange* x) noexcept nogil                   # LaneState.tunnel_ended
cdef void exchange_free_spares(LaneState* lane) noexcept nogil
cdef void client_gone(Conn* client) noexcept nogil                            # it hung up, with or without an exchange
cdef void drop_origin(Exchange* x, bint abort) noexcept nogil
# These end the exchange, at once or when the answer has left.
cdef void refuse(Exchange* x, uint8_t reason) noexcept nogil                  # a problem document
cdef void answer_own(Exchange* x) noexcept nogil                              # x.own
cdef void answer_plan(Exchange* x) noexcept nogil                             # the plan's redirect or fixed response
