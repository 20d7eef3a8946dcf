"""Log-linear histograms of durations: 8 buckets an octave, so the middle of a bucket is within 6.25 % of every value in it."""
from libc.stdint cimport uint32_t, uint64_t


cdef enum:
    HIST_BUCKETS = 240              # 0 .. 7 us exactly, then 8 an octave up to HIST_MAX_US
    HIST_SUB_BITS = 3               # log2 of the buckets an octave

cdef extern from *:
    """
    #define HIST_MAX_US 3600000000ull
    """
    const uint64_t HIST_MAX_US      # one hour; longer durations count as this


cdef struct Hist:                   # nothing but 64-bit words, so that a reader may add histograms up word by word
    uint64_t sum_us                 # microseconds
    uint64_t counts[240]            # counts[i]: values from hist_lower(i) up to, not including, hist_lower(i + 1)


cdef extern from *:
    """
    static inline unsigned int gw_hist_index(unsigned long long us) {
        unsigned int shift = 60 - __builtin_clzll(us | 8);   /* highest bit minus HIST_SUB_BITS */
        return (shift << 3) + (unsigned int)(us >> shift);
    }
    """
    uint32_t hist_index "gw_hist_index"(uint64_t us) noexcept nogil     # us <= HIST_MAX_US


cdef inline void hist_add(Hist* h, uint64_t us) noexcept nogil:
    if us > HIST_MAX_US:
        us = HIST_MAX_US
    h.sum_us += us
    h.counts[hist_index(us)] += 1


cdef uint64_t hist_lower(uint32_t index) noexcept nogil                 # least value of a bucket, us
cdef uint64_t hist_count(const Hist* h) noexcept nogil
cdef void hist_merge(Hist* into, const Hist* h) noexcept nogil
cdef uint64_t hist_quantile(const Hist* h, double q) noexcept nogil     # us; q in 0 .. 1; 0 when empty


cdef class Histogram:               # a reader's own copy
    cdef Hist h
