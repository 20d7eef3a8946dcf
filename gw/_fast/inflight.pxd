"""How many requests are in flight at once, as a step of a plan: counted in the shared segment, given back whatever way the exchange ends."""
from libc.stdint cimport uint32_t

from gw._fast.bucket cimport InflightOut
from gw._fast.limit cimport Limit, LimitStep


cdef struct Inflight:
    Limit limit
    uint32_t most
    InflightOut out             # of the last request that was counted


cdef class ConcurrencyStep(LimitStep):
    cdef Inflight inflight
