"""A bounded place to build bytes in: what does not fit is noticed once, at the end."""
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from gw._fast.octets cimport decimal_before


cdef struct Out:
    char* start             # borrowed
    char* p                 # next byte
    char* end               # one past the room
    bint full               # something did not fit: what was built must not be used


cdef inline void out_init(Out* out, char* start, size_t room) noexcept nogil:
    out.start = start
    out.p = start
    out.end = start + room
    out.full = False


cdef inline void put(Out* out, const char* text, size_t n) noexcept nogil:
    if <size_t>(out.end - out.p) < n:
        out.full = True
        return
    memcpy(out.p, text, n)
    out.p += n


cdef inline void put_number(Out* out, uint64_t value) noexcept nogil:
    cdef char digits[20]
    cdef const char* first = decimal_before(digits + 20, value)
    put(out, first, digits + 20 - first)


cdef inline void put_chunk_size(char* at, uint64_t size) noexcept nogil:
    """Ten bytes: eight hex digits and CRLF (leading zeros are allowed, RFC 9112 section 7.1)."""
    cdef int i
    cdef uint64_t digit
    for i in range(8):
        digit = (size >> (28 - 4 * i)) & 15
        at[i] = <char>(48 + digit if digit < 10 else 87 + digit)
    at[8] = c"\r"
    at[9] = c"\n"
