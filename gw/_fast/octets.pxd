"""Text eight bytes at a time, without reading past its end."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    int trailing_zeros "__builtin_ctzll"(unsigned long long word) noexcept nogil     # of a word that is not 0


cdef inline uint64_t word_at(const char* p, size_t left) noexcept nogil:
    """At most 8 of the bytes that are left, the first one lowest as on every machine gw runs on, zeros beyond; loads that overlap instead of a loop."""
    cdef uint64_t word
    cdef uint32_t four, last
    cdef uint16_t two
    if left >= 8:
        memcpy(&word, p, 8)
        return word
    if left >= 4:
        memcpy(&four, p, 4)
        memcpy(&last, p + left - 4, 4)
        return four | <uint64_t>last << 8 * (left - 4)
    if left >= 2:
        memcpy(&two, p, 2)
        return two | <uint64_t><uint8_t>p[left - 1] << 8 * (left - 1)
    return <uint8_t>p[0] if left else 0
