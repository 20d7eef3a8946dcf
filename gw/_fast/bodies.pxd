"""Bodies kept whole for the steps that watch them: gathered within their bounds, counted, given back in whatever way the exchange ends."""
from libc.stdint cimport uint32_t

from gw._fast.plane cimport Exchange, StepCall, Watch


cdef bint body_watch(Exchange* x, const Watch* watch) noexcept nogil      # from here on the step takes part; False when there is no memory for that
cdef void bodies_forget(Exchange* x, uint32_t first) noexcept nogil       # steps behind this hold take part no more
cdef void bodies_end(Exchange* x) noexcept nogil

# The request's. `gather_up` takes from what was read already, or reads once: RELAY_MORE until it is whole (RELAY_DONE), or what is wrong.
cdef bint gathers_up(Exchange* x) noexcept nogil                          # a step wants it; asked once
cdef int gather_up(Exchange* x) noexcept nogil
cdef StepCall* request_body_step(Exchange* x) noexcept nogil              # that is due, NULL when none is left
cdef bint frame_up(Exchange* x) noexcept nogil                            # the head says how it leaves; False when there is no memory for that
cdef int send_up(Exchange* x, uint32_t head_n) noexcept nogil             # as relay_up, from where it stopped, and with a head from the start
# Heads towards endpoints.
cdef StepCall* origin_step(Exchange* x, uint32_t* at) noexcept nogil      # due behind `at`, 0 at first; NULL when none is left
cdef bint origin_steps(Exchange* x) noexcept nogil                        # False: x.own.reason says why it must not leave

# The answer's. A piece that was read, or with n 0 the end of the connection.
cdef bint gathers_down(Exchange* x) noexcept nogil
cdef int gather_down(Exchange* x, const char* data, uint32_t n) noexcept nogil
cdef StepCall* response_body_step(Exchange* x) noexcept nogil
cdef bint frame_down(Exchange* x) noexcept nogil
cdef int send_down(Exchange* x, uint32_t head_n) noexcept nogil           # as relay_down

# For hooks.
cdef bint body_ready(Exchange* x, bint answer)                            # its bytes can be had; False when there is no memory for that
cdef bytes body_bytes(Exchange* x, bint answer)                           # as it stands, once it is ready
cdef bint body_put(Exchange* x, bint answer, bytes text)                  # in its place; False when there is no memory for that
