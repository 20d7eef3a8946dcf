"""An answer on its way to the client."""
from libc.stdint cimport uint32_t

from gw._fast.plane cimport Exchange


cdef void answer_steps(Exchange* x) noexcept nogil                                  # the next response steps, then head and body; goes on where one has parked
cdef void answer_head(Exchange* x, char* rest, uint32_t n) noexcept nogil          # and what was read behind it
cdef void down_piece(Exchange* x, uint32_t head_n, char* data, uint32_t n) noexcept nogil
cdef void origin_ended(Exchange* x, bint clean) noexcept nogil                      # the origin closed inside the body
cdef void gather_answer(Exchange* x) noexcept nogil                                 # one read of a body that steps want whole
cdef void send_answer(Exchange* x, uint32_t head_n) noexcept nogil                  # what is kept of it, as fast as the client takes it
