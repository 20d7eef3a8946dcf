cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcpy, memset

cdef extern from "arpa/inet.h" nogil:
    enum: AF_INET
    enum: AF_INET6
    int inet_pton(int family, const char* text, void* address)

cdef enum: TEXT_MAX = 46        # INET6_ADDRSTRLEN

_HALF = 0xFFFFFFFFFFFFFFFF


cdef bint address_bytes(const char* text, uint32_t n, uint8_t* bytes) noexcept nogil:
    cdef char terminated[TEXT_MAX]
    if n == 0 or n >= TEXT_MAX or memchr(text, 0, n) != NULL:   # inet_pton would stop there and believe the rest
        return False
    memcpy(terminated, text, n)
    terminated[n] = 0
    memset(bytes, 0, 10)
    bytes[10] = bytes[11] = 255
    return inet_pton(AF_INET, terminated, bytes + 12) == 1 or inet_pton(AF_INET6, terminated, bytes) == 1


cdef Address address_of(const uint8_t* bytes) noexcept nogil:
    cdef Address made = Address(0, 0)
    cdef int i
    for i in range(8):
        made.hi = made.hi << 8 | bytes[i]
        made.lo = made.lo << 8 | bytes[i + 8]
    return made


cdef inline bint _above(Address a, Address b) noexcept nogil:
    return a.hi > b.hi or (a.hi == b.hi and a.lo > b.lo)


cdef bint ranges_hold(const Ranges* ranges, Address address) noexcept nogil:
    """The last range that does not begin above the address is the only one that can hold it."""
    cdef uint32_t low = 0, high = ranges.n, middle
    while low < high:
        middle = low + (high - low) // 2
        if _above(ranges.items[middle].first, address):
            high = middle
        else:
            low = middle + 1
    return low > 0 and not _above(address, ranges.items[low - 1].last)


@cython.final
cdef class AddressSet:
    def __init__(self, ranges: list) -> None:
        cdef uint32_t i = 0
        if self.ranges.items != NULL:
            raise RuntimeError("a set is made once")
        self.ranges.items = <Range*>calloc(len(ranges) + 1, sizeof(Range))
        if self.ranges.items == NULL:
            raise MemoryError
        before = -1
        for first, last in ranges:
            if not before < first <= last < 1 << 128:
                raise ValueError(f"range {i} is not in order, overlaps the one before or ends beyond 128 bits")
            self.ranges.items[i] = Range(Address(first >> 64, first & _HALF), Address(last >> 64, last & _HALF))
            before = last
            i += 1
        self.ranges.n = i

    def __len__(self) -> int:
        return self.ranges.n

    def __contains__(self, bytes text not None) -> bool:
        cdef uint8_t found[16]
        return address_bytes(text, len(text), found) and ranges_hold(&self.ranges, address_of(found))

    def __dealloc__(self):
        free(self.ranges.items)


def _repeat(AddressSet found not None, bytes text not None, uint64_t times):
    cdef uint8_t octets[16]
    cdef uint64_t hits = 0
    cdef uint64_t _
    cdef const char* start = text
    cdef uint32_t n = len(text)
    with nogil:
        for _ in range(times):
            hits += address_bytes(start, n, octets) and ranges_hold(&found.ranges, address_of(octets))
    return hits
