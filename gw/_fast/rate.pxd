"""Rate limits and queues as steps of a plan: GCRA cells of the shared segment, what clients are told of them."""
from libc.stdint cimport int64_t, uint8_t, uint32_t

from gw._fast.bucket cimport LimitOut, Window
from gw._fast.limit cimport Limit, LimitStep, Telling
from gw._fast.plane cimport Waiting


cdef struct Rates:
    Limit limit
    Window windows[8]           # all must have room
    LimitOut outs[8]            # of the last request that was counted
    Telling telling
    uint32_t n
    uint32_t cost               # units a request takes
    uint8_t tells               # clients are sent RateLimit and RateLimit-Policy


cdef enum:
    LINE_BITS = 6
    LINES = 1 << LINE_BITS


cdef class Lines:               # who waits in one worker behind the throttles of one snapshot
    cdef Waiting rings[LINES]   # by a hash of the cell that a place was booked in; each in the order of arrival


cdef struct Queue:
    Limit limit
    Window window               # its burst is what passes at once, and the places behind that
    LimitOut out                # of the last request that was counted
    int64_t free_us             # a bucket that is full again within this makes nobody wait
    int64_t wait_us             # of the last request
    Waiting* rings              # of the Lines that the step holds


cdef class RateStep(LimitStep):
    cdef Rates rates


cdef class ThrottleStep(LimitStep):
    cdef Queue queue
    cdef Lines lines
