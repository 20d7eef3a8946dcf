"""IP addresses as sixteen bytes, and sets of them as sorted ranges."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef struct Address:            # of 128 bits, IPv4 mapped into IPv6 (RFC 4291 section 2.5.5.2)
    uint64_t hi                 # first eight bytes, as a number
    uint64_t lo


cdef struct Range:              # both ends belong to it
    Address first
    Address last


cdef struct Ranges:
    Range* items                # owner: AddressSet; by first, disjoint
    uint32_t n


cdef class AddressSet:          # immutable
    cdef Ranges ranges          # items owned by this object; freed in __dealloc__


# The text as sixteen bytes in network order; false when it is no address. `text` needs no end.
cdef bint address_bytes(const char* text, uint32_t n, uint8_t* bytes) noexcept nogil
cdef Address address_of(const uint8_t* bytes) noexcept nogil
cdef bint ranges_hold(const Ranges* ranges, Address address) noexcept nogil
