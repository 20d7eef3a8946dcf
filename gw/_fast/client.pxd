"""Client connections between and around exchanges."""
from gw._fast.plane cimport LaneState
from gw._fast.stream cimport Conn


cdef void client_close(Conn* client) noexcept nogil              # an idle or finished one
cdef void client_refuse(Conn* client) noexcept nogil
cdef void client_abort(Conn* client) noexcept nogil              # with a reset
cdef void client_leave(Conn* client) noexcept nogil              # close once the peer can have read the last answer
cdef void client_next(Conn* client, bint close) noexcept nogil   # its exchange is over: wait for another, or leave
cdef void client_drain_unwanted(Conn* client) noexcept nogil     # C_LINGER and readable
cdef bint client_read_ahead(Conn* client) noexcept nogil         # C_BUSY and readable, with nowhere to put it
cdef bint client_greet(Conn* client) noexcept nogil              # C_PROXY or C_HANDSHAKE and readable
cdef bint clients_reclaim(LaneState* lane) noexcept nogil
