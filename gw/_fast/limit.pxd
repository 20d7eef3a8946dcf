"""What all policies that limit share: whom a request is counted as, and how one that is too much is refused."""
from libc.stdint cimport int64_t, uint8_t, uint32_t

from gw._fast.hash cimport Hash
from gw._fast.plane cimport Exchange
from gw._fast.selector cimport Selector, SelectorPart
from gw._fast.shm cimport LimitTable, Segment
from gw._fast.step cimport Step


cdef enum:                      # Limit.missing: a request that lacks a part of what is counted by
    MISSING_COUNT = 0           # shares a key with all that lack it
    MISSING_REFUSE = 1
    MISSING_SKIP = 2            # is not counted

cdef enum:                      # Limit.seen: what became of the last request
    SEEN_COUNTED = 0
    SEEN_REFUSED = 1
    SEEN_FULL = 2               # no cell was to be had
    SEEN_LACKING = 3            # a part is missing, so that it was not counted


cdef enum:
    WINDOWS_MAX = 8             # of one policy


cdef struct Label:              # borrowed from the step
    const char* text            # `"name";r=` of a member of RateLimit
    uint32_t len


cdef struct Figure:
    int64_t remaining           # units that would pass now
    int64_t reset_us            # until all are there again; -1: not told


cdef struct Telling:            # what clients are told
    Label labels[8]
    Figure figures[8]           # of the last request that was counted
    uint32_t n
    uint32_t field_max          # bytes of a RateLimit value
    const char* policy          # value of RateLimit-Policy, borrowed from the step
    uint32_t policy_len


cdef struct Limit:
    LimitTable* table           # borrowed from the Segment
    const SelectorPart* parts   # borrowed from the Selector
    uint32_t n_parts
    Hash seed                   # of the keys of this limit's identity
    uint8_t missing             # MISSING_*
    uint8_t closed              # a full table refuses
    uint8_t dry                 # refuses nothing, says what it would have refused
    uint8_t seen                # SEEN_*, for `told`


# True: `key` is whom to count. False: `verdict` is the step's answer, nothing is counted.
cdef bint limit_key(Limit* limit, Exchange* x, Hash* key, int* verdict) noexcept nogil
# The answer of a step that refuses, unless it is dry; with Retry-After where retry_us is not 0.
cdef int limit_refuses(Limit* limit, Exchange* x, uint8_t reason, int64_t retry_us) noexcept nogil
cdef int limit_full(Limit* limit, Exchange* x) noexcept nogil
# Adds RateLimit and RateLimit-Policy to the answer.
cdef void limit_tells(const Telling* telling, Exchange* x) noexcept nogil
cdef inline int64_t whole_seconds(int64_t us) noexcept nogil:
    return (us + 999999) // 1000000


cdef class LimitStep(Step):
    cdef Segment segment        # owned: keeps the table alive
    cdef Selector selector      # owned: what Limit.parts points into
    cdef list by                # texts of the selector
    cdef list held              # owned: text the structs point into
    cdef _count(self, Limit* limit, bytes identity, str missing, bint closed, bint dry)     # fills the limit
    # Fills the texts from (label, units, seconds in which an empty window fills; 0: not told) of each window.
    cdef _labels(self, Telling* telling, list windows)
    cdef str _told(self, const Limit* limit, Exchange* x, str figures)
