"""What all that count in cells share: swaps of 16 bytes, finding a cell, and what kind it is. bucket.pxd has the protocol and its proof."""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from gw._fast.shm cimport SET_CELLS, LimitCell, LimitSet, LimitTable, atomic_load_u64

cdef extern from *:
    """
    #ifndef GW_CELL
    #define GW_CELL
    /* GCC and clang compile these to cmpxchg16b (-mcx16, setup.py) or to ldaxp/stlxp and casp, and all of them are full barriers. */
    typedef unsigned __int128 __attribute__((may_alias)) gw_pair;
    static inline gw_pair gw_pair_of(uint64_t tag, int64_t value) { return (gw_pair)(uint64_t)value << 64 | tag; }
    static inline int gw_swap(void* cell, uint64_t tag, int64_t value, uint64_t new_tag, int64_t new_value) {
        return __sync_bool_compare_and_swap((gw_pair*)cell, gw_pair_of(tag, value), gw_pair_of(new_tag, new_value));
    }
    static inline void gw_read(void* cell, uint64_t* tag, int64_t* value) {
        gw_pair seen = __sync_val_compare_and_swap((gw_pair*)cell, 0, 0);
        *tag = (uint64_t)seen;
        *value = (int64_t)(seen >> 64);
    }
    #define GW_TICK_BITS 12
    #define GW_GRACE (1000000ll << GW_TICK_BITS)
    #define GW_TIME_MAX_US (1ll << 50)
    #define GW_COUNT_MASK ((1ll << 24) - 1)
    #define GW_TALLY_MASK ((1ll << 32) - 1)
    static inline uint64_t gw_see_u64(const uint64_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline int64_t gw_see_i64(const int64_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    #endif
    """
    bint swap "gw_swap"(LimitCell* cell, uint64_t tag, int64_t value, uint64_t new_tag, int64_t new_value) noexcept nogil
    void read "gw_read"(LimitCell* cell, uint64_t* tag, int64_t* value) noexcept nogil      # both words at one moment
    uint64_t see_tag "gw_see_u64"(const uint64_t* p) noexcept nogil                         # one of them, before those that are read after it
    int64_t see_value "gw_see_i64"(const int64_t* p) noexcept nogil
    const int TICK_BITS "GW_TICK_BITS"                  # a microsecond has 2 ** 12 ticks, so that 63 bits hold 71 years
    const int64_t GRACE "GW_GRACE"                      # ticks
    const int64_t TIME_MAX_US "GW_TIME_MAX_US"
    const int64_t COUNT_MASK "GW_COUNT_MASK"            # of a value that ends in a number in flight, or in the state of a lease
    const int64_t TALLY_MASK "GW_TALLY_MASK"            # of a value that ends in a tally

cdef enum:                              # bits of a tag, at most one of them; none: a rate
    IN_FLIGHT = 1                       # the value ends in a number in flight
    LEASE = 2                           # in the state of a lease
    TALLY = 4                           # in what a ledger had left
    KINDS = 7


cdef inline int64_t ticks(int64_t now_us) noexcept nogil:
    # Starts at GRACE, so that a fresh cell lies in the past at time 0 too.
    return (min(max(now_us, 0), TIME_MAX_US) << TICK_BITS) + GRACE


cdef inline int64_t whole_us(int64_t n) noexcept nogil:
    return (n + (1 << TICK_BITS) - 1) >> TICK_BITS


cdef inline bint in_use(uint64_t tag, int64_t value, int64_t now) noexcept nogil:
    return tag != 0 and (value > now - GRACE or (tag & IN_FLIGHT and value & COUNT_MASK))


cdef inline uint64_t tag_of(uint64_t bits, uint64_t kind) noexcept nogil:
    cdef uint64_t tag = bits & ~<uint64_t>KINDS | kind
    return tag if tag > KINDS else tag | (KINDS + 1)


cdef inline LimitSet* set_of(LimitTable* table, uint64_t bits) noexcept nogil:
    return table.sets + (bits & (table.n_sets - 1))


cdef inline uint32_t first_of(uint64_t bits) noexcept nogil:
    # Where to begin in a set: most keys are found at the first look.
    return <uint32_t>(((bits >> 32) * SET_CELLS) >> 32)


cdef inline LimitCell* find(LimitSet* cells, uint64_t tag, uint32_t first) noexcept nogil:
    cdef uint32_t i
    for i in range(first, SET_CELLS):
        if atomic_load_u64(&cells.cells[i].tag) == tag:
            return &cells.cells[i]
    for i in range(first):
        if atomic_load_u64(&cells.cells[i].tag) == tag:
            return &cells.cells[i]
    return NULL
