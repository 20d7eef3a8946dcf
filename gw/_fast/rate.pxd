"""Rate limits and queues as steps of a plan: GCRA cells of the shared segment, what clients are told of them."""
from libc.stdint cimport int64_t, uint8_t, uint32_t

from gw._fast.bucket cimport LimitOut, Window
from gw._fast.limit cimport Limit, LimitStep


cdef enum:
    WINDOWS_MAX = 8             # of one policy


cdef struct Label:              # borrowed from the step
    const char* text            # `"name";r=` of a member of RateLimit
    uint32_t len


cdef struct Rates:
    Limit limit
    Window windows[8]           # all must have room
    Label labels[8]
    LimitOut outs[8]            # of the last request that was counted
    uint32_t n
    uint32_t cost               # units a request takes
    uint32_t field_max          # bytes of a RateLimit value
    uint32_t policy_len
    const char* policy          # value of RateLimit-Policy, borrowed from the step
    uint8_t tells               # clients are sent RateLimit and RateLimit-Policy


cdef struct Queue:
    Limit limit
    Window window               # its burst is what passes at once, and the places behind that
    LimitOut out                # of the last request that was counted
    int64_t free_us             # a bucket that is full again within this makes nobody wait
    int64_t wait_us             # of the last request


cdef class RateStep(LimitStep):
    cdef Rates rates
    cdef list held              # owned: text the struct points into


cdef class ThrottleStep(LimitStep):
    cdef Queue queue
