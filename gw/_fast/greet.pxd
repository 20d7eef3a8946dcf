"""PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): read from trusted peers, written to origins."""
from gw._fast.stream cimport Conn


cdef enum:
    GREET_MORE = 0
    GREET_DONE = 1
    GREET_BAD = -1

cdef int proxy_greeting(Conn* client) noexcept nogil                 # takes exactly the header; sets client.addr and port
cdef bint proxy_header(Conn* client, int fd, int version) noexcept nogil   # first bytes of a new origin connection; False when they did not leave whole
