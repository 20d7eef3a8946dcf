"""Header and query matches of routes."""
from libc.stdint cimport uint32_t

from gw._fast.headers cimport Target
from gw._fast.regex cimport Program


cdef enum:                      # Predicate.op
    OP_EQ = 0
    OP_REGEX = 1                # of the whole value
    OP_PRESENT = 2
    OP_ABSENT = 3


cdef struct Predicate:          # names and values are offsets into a text that the router owns
    uint32_t name               # lower case for a header
    uint32_t name_len
    uint32_t value
    uint32_t value_len
    const Program* program      # borrowed from a Regex that the router keeps; for OP_REGEX
    uint32_t op                 # OP_*


# Whether p[0 .. n_headers) hold of the header and the n_query after them of the query.
cdef bint predicates_hold(const char* text, const Predicate* p, uint32_t n_headers, uint32_t n_query, const Target* target) noexcept nogil

# Of a name or value of a query, percent-decoded and with '+' for a space: into `out`, which has room for n bytes; the bytes written.
cdef uint32_t query_decode(const char* s, uint32_t n, char* out) noexcept nogil
cdef bint query_equals(const char* s, uint32_t n, const char* want, uint32_t m) noexcept nogil


cdef inline int hex_digit(char c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - c'0'
    c |= 0x20
    return c - c'a' + 10 if c'a' <= c <= c'f' else -1


# One octet of s at at[0], percent-decoded; a '%' without two hex digits stands for itself.
cdef inline char next_octet(const char* s, uint32_t n, uint32_t* at) noexcept nogil:
    cdef uint32_t i = at[0]
    at[0] += 1
    if s[i] == c'%' and i + 2 < n and hex_digit(s[i + 1]) >= 0 and hex_digit(s[i + 2]) >= 0:
        at[0] += 2
        return <char>(hex_digit(s[i + 1]) * 16 + hex_digit(s[i + 2]))
    return s[i]
