"""After a 101: bytes both ways until both sides are done, with half-close and back-pressure."""
from libc.stdint cimport uint32_t

from gw._fast.plane cimport Exchange


# `head_n` bytes of the 101 lie at reactor.tx; `early` is what the origin sent behind it.
cdef void tunnel_begin(Exchange* x, uint32_t head_n, char* early, uint32_t n) noexcept nogil
