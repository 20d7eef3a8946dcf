"""Birth and end of exchanges, and the answers that gw makes itself."""
from libc.stdint cimport uint8_t, uint32_t

from gw._fast.plane cimport Exchange, LaneState, StepCall
from gw._fast.stream cimport Conn


cdef Exchange* exchange_new(LaneState* lane, Conn* client) noexcept nogil     # NULL: out of memory
cdef void exchange_finish(Exchange* x) noexcept nogil                         # the answer left whole
cdef void exchange_abort(Exchange* x, uint8_t by, uint8_t reason) noexcept nogil      # both sides are cut
cdef void exchange_tunnel_ended(Exchange* x) noexcept nogil                   # LaneState.tunnel_ended
cdef void exchange_free_spares(LaneState* lane) noexcept nogil
cdef void client_gone(Conn* client) noexcept nogil                            # it hung up, with or without an exchange
cdef bint pass_interim(Exchange* x) noexcept nogil                            # a 1xx on its way to the client; False when that is gone
cdef void drop_origin(Exchange* x, bint abort) noexcept nogil
# Response steps: the consumer's, then the plan's, each in reverse order of what is configured. NULL: there is no i-th.
cdef StepCall* response_step(Exchange* x, uint32_t i) noexcept nogil


cdef inline bint watches_answer(Exchange* x) noexcept nogil:
    """Some step takes part behind the answer's head."""
    return (x.plan.steps.n_response | x.plan.steps.n_done) != 0 or (x.identity.consumer != NULL and (x.identity.consumer.steps.n_response | x.identity.consumer.steps.n_done) != 0)


# These end the exchange, at once or when the answer has left.
cdef void refuse(Exchange* x, uint8_t reason) noexcept nogil                  # a problem document
cdef void parked_too_long(Exchange* x) noexcept nogil                         # unless the step that has parked it lets it go on
cdef void answer_own(Exchange* x) noexcept nogil                              # x.own
cdef void answer_plan(Exchange* x) noexcept nogil                             # the plan's redirect or fixed response
