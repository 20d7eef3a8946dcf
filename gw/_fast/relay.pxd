"""Body bytes from one side to the other: framing in, framing out, never more than one read held."""
from libc.stdint cimport uint32_t

from gw._fast.h1 cimport Body
from gw._fast.plane cimport Exchange
from gw._fast.slab cimport Buf
from gw._fast.stream cimport RX_SIZE


cdef enum:                  # where a relay stands after a piece
    RELAY_MORE = 0
    RELAY_DONE = 1          # the body is whole
    RELAY_STALL = 2         # the receiver is slow: stop reading the sender (the piece itself is taken)
    RELAY_BAD = -1          # malformed framing: body.fault
    RELAY_BROKEN = -2       # the receiver is gone
    RELAY_TOO_LARGE = -3    # more than the route takes, or a step
    RELAY_SHORT = -4        # of memory to keep it in
    RELAY_CUT = -5          # the sender ended it too early

# `head_n` bytes of head are already built at reactor.tx and leave with the piece. `used`: bytes of data that belonged to the body. n <= RX_SIZE.
cdef int relay_up(Exchange* x, uint32_t head_n, const char* data, uint32_t n, uint32_t* used) noexcept nogil
cdef int relay_down(Exchange* x, uint32_t head_n, const char* data, uint32_t n, uint32_t* used) noexcept nogil
cdef int relay_down_end(Exchange* x, uint32_t head_n) noexcept nogil                 # BODY_EOF: the origin has closed
# One read of the client's body to reactor.rx, as conn_recv: never more than the body and what there is room to keep of the request behind it, which keep_behind keeps.
cdef ssize_t read_up(Exchange* x) noexcept nogil
cdef void keep_behind(Exchange* x, const char* data, uint32_t n) noexcept nogil
cdef int swallow_up(Exchange* x, const char* data, uint32_t n, uint32_t* used) noexcept nogil   # the rest of a body nobody wants
cdef char* trailer_room(Exchange* x, Body* body) noexcept nogil                         # TRAILER_MAX bytes for this direction, or NULL
cdef void rewind_up(Exchange* x) noexcept nogil                                        # for another try


cdef inline uint32_t next_piece(const Buf* buf) noexcept nogil:
    """Unread bytes of a buffer, as many as one relay takes: a buffer for large heads holds more than reactor.tx has room to frame."""
    return buf.end - buf.start if buf.end - buf.start < RX_SIZE else RX_SIZE
# What was read of an answer outlives the read buffer; it may already lie in the kept one, behind an interim answer. False: it does not fit.
cdef bint keep_answer(Exchange* x, const char* base, uint32_t n) noexcept nogil
