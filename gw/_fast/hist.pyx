cimport cython
from libc.string cimport memset


cdef uint64_t hist_lower(uint32_t index) noexcept nogil:
    cdef uint32_t shift
    if index < 8:
        return index
    shift = (index >> HIST_SUB_BITS) - 1
    return <uint64_t>(8 + (index & 7)) << shift


cdef uint64_t hist_count(const Hist* h) noexcept nogil:
    cdef uint64_t count = 0
    cdef int i
    for i in range(HIST_BUCKETS):
        count += h.counts[i]
    return count


cdef void hist_merge(Hist* into, const Hist* h) noexcept nogil:
    cdef int i
    into.sum_us += h.sum_us
    for i in range(HIST_BUCKETS):
        into.counts[i] += h.counts[i]


cdef uint64_t hist_quantile(const Hist* h, double q) noexcept nogil:
    cdef uint64_t count = hist_count(h)
    cdef uint64_t rank, below = 0
    cdef int i
    if count == 0:
        return 0
    rank = <uint64_t>(q * <double>(count - 1)) + 1      # nearest rank, counted from 1
    for i in range(HIST_BUCKETS):
        below += h.counts[i]
        if below >= rank:
            return (hist_lower(i) + hist_lower(i + 1) - 1) // 2
    return HIST_MAX_US


@cython.final
cdef class Histogram:
    def __cinit__(self):
        memset(&self.h, 0, sizeof(Hist))

    def __repr__(self):
        return f"<Histogram of {self.count}: p50 {self.quantile(0.5)} us, p99 {self.quantile(0.99)} us>"

    def add(self, uint64_t us):
        hist_add(&self.h, us)

    def merge(self, Histogram other not None):
        hist_merge(&self.h, &other.h)

    def quantile(self, double q):
        if not 0 <= q <= 1:
            raise ValueError(f"{q} is not between 0 and 1")
        return hist_quantile(&self.h, q)

    @property
    def count(self):
        return hist_count(&self.h)

    @property
    def sum_us(self):
        return self.h.sum_us

    def cumulative(self, edges):
        cdef uint64_t below = 0
        cdef uint32_t i = 0
        counts = []
        for edge in edges:
            while i < <uint32_t>min(edge, HIST_BUCKETS):
                below += self.h.counts[i]
                i += 1
            counts.append(below)
        return counts


def nearest_edge(uint64_t us):
    cdef uint32_t index = hist_index(min(us, HIST_MAX_US))
    cdef uint64_t low = hist_lower(index), high = hist_lower(index + 1)
    return index if us - low < high - us else index + 1


def lower(uint32_t index):
    if index >= HIST_BUCKETS:
        raise IndexError(f"bucket {index} of {HIST_BUCKETS}")
    return hist_lower(index)


def _repeat(Histogram h not None, uint64_t us, uint64_t times):
    cdef uint64_t i
    with nogil:
        for i in range(times):
            hist_add(&h.h, us + (i & 1023))
