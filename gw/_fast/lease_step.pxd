"""A limit that a ledger counts, as a step of a plan: takes from leases, asks for more, lets requests wait for an answer."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from gw._fast.hash cimport Hash
from gw._fast.lease cimport LeaseOut
from gw._fast.limit cimport Limit, LimitStep, Telling
from gw._fast.plane cimport Waiting
from gw._fast.words cimport Word


cdef struct Window:
    uint64_t salt               # keeps windows over the same key apart; the same for the same meter
    int64_t ends_us             # CLOCK_MONOTONIC: until then `Telling.figures` knows when a calendar period ends
    uint8_t calendar            # its period ends for all keys at once
    uint8_t rate                # refuses with `rate-limited`, otherwise `quota-exceeded`


cdef struct Tier:               # windows of one group of callers, or of those who are in none
    Window windows[8]           # all must have room
    Telling telling


cdef struct Spending:
    Limit limit
    Tier* tiers                 # owner: the step
    const Word* groups          # of tiers[1] and further; owner: the step
    const uint8_t* tier_of      # index of a tier by index of a consumer, 0: in none of the groups; borrowed from `held`
    uint32_t n_tiers
    uint32_t cost               # units a request takes
    uint8_t tells               # clients are sent RateLimit and RateLimit-Policy
    Waiting waiting             # for units
    void* owner                 # borrowed: the step
    # of the last request
    uint32_t tier
    uint32_t n
    Hash keys[8]
    LeaseOut outs[8]
    int64_t retry_us
    int verdict                 # LEASE_*


cdef class LeaseStep(LimitStep):
    cdef Spending spending
    cdef object report          # of the lane that runs it
    cdef readonly list meters   # [tier][window]
    cdef list ends              # [tier][window]: callable, or None where no calendar ends the period
    cdef str away
    cdef _fill(self, list tiers, list groups, bytes tier_of)
    cdef _ask(self, void* exchange, uint32_t window)
    cdef _learn_end(self, uint32_t tier, uint32_t window, int64_t now_us, int64_t wall_us)
