"""Connections to endpoints: kept open between exchanges, bounded, never handed out while they have unread bytes."""
from libc.stdint cimport int64_t, uint8_t

from gw._fast.plane cimport Pool
from gw._fast.stream cimport Conn, Handler, Reactor


cdef enum:                  # pool_open, besides an errno > 0
    POOL_FULL = -1
    POOL_NO_ADDRESS = -2

cdef Pool* pool_new(Reactor* reactor) noexcept nogil
cdef void pool_free(Pool* pool) noexcept nogil                       # closes the idle ones; busy ones must be gone
cdef Conn* pool_take(Pool* pool) noexcept nogil                      # an idle connection or NULL
cdef Conn* pool_open(Pool* pool, Handler on_event, Handler on_timeout, int64_t connect_ms, int* error) noexcept nogil
cdef int pool_handshake(Conn* conn) noexcept nogil                   # TLS_OK, TLS_WANT_*, TLS_ERROR
cdef void pool_give(Pool* pool, Conn* conn) noexcept nogil           # keeps it, or closes it when there are enough
cdef void pool_drop(Pool* pool, Conn* conn, bint abort) noexcept nogil   # closes a busy one
cdef void pool_clear(Pool* pool) noexcept nogil                      # closes every idle one
