"""One request through us: from the first byte of its head to the last byte of the answer."""
from libc.stdint cimport uint32_t

from gw._fast.plane cimport Exchange
from gw._fast.stream cimport Conn


# Handlers of client connections, for the lane that accepts them.
cdef void client_event(Conn* client, uint32_t events) noexcept nogil
cdef void client_timeout(Conn* client, uint32_t events) noexcept nogil
# A parked exchange goes on: the hook's verdict is STEP_NEXT or STEP_ANSWER (x.own is set).
cdef void exchange_resume(Exchange* x, int verdict) noexcept nogil
