"""The request's body from one event to the next."""
from gw._fast.plane cimport Exchange


cdef void pump_up(Exchange* x) noexcept nogil                   # one read of the client, from the kept bytes first
cdef void up_moved(Exchange* x, int code) noexcept nogil        # after a piece has left: RELAY_* says how; timers and reading follow
cdef void body_goes_on(Exchange* x) noexcept nogil              # another piece is due
cdef void body_refused(Exchange* x, int code) noexcept nogil    # RELAY_* says why no more of it is taken
cdef void body_cut(Exchange* x, bint clean) noexcept nogil      # the client ended its side inside the body
cdef bint origin_drained(Exchange* x) noexcept nogil            # the request's queue is empty. False when the exchange ended in here
