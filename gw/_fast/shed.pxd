"""Adaptive concurrency: how many exchanges a service takes before they only wait in it, learnt from its latencies; who is turned away first beyond that.

One worker's view of one service. In windows of at least WINDOW_US and WINDOW_SAMPLES answers the mean latency is compared with `base_us`, what the service
needs without load: limit' = limit * gradient + sqrt(limit), gradient = tolerance * base / latency within [0.5, 1], of which a fifth is taken. It rests where latency is
tolerance / (1 - 1 / sqrt(limit)) times the base, so that a queue is short whatever the service can do. It grows only while half of it is used.

The base falls to what any window shows. It rises only by a probe, since what is measured under load would raise the limit, and that the load: where latency is
beyond tolerance * base, but at most every PROBE_US, half of what is in flight is let through until PROBE_SAMPLES answers to requests that began since have come.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t

from gw._fast.hash cimport Hash
from gw._fast.selector cimport Selector, SelectorPart
from gw._fast.shm cimport LoadStats, Segment
from gw._fast.step cimport Step


cdef enum:
    VALUES_MAX = 64             # of a part of the request that say a priority

cdef enum:                      # latency_us of load_leave
    LATENCY_NONE = -1           # the exchange says nothing about the service
    LATENCY_OVERLOAD = -2       # it timed out, or said 503


cdef struct Load:
    double limit
    double base_us              # 0: not known yet
    double tolerance
    double least                # bounds of limit
    double most
    double sum_us               # of this window's latencies
    double probe_sum_us
    double probe_room           # what a probe lets through
    int64_t window_us           # when this window began; 0: nothing came yet
    int64_t probe_us            # when the probe began; 0: there is none
    int64_t probed_us           # when the last one ended
    uint32_t samples            # in this window
    uint32_t probe_samples
    uint32_t inflight
    uint32_t peak               # of inflight in this window
    uint8_t overloaded          # in this window
    LoadStats* shown            # where metrics read it, in the segment; NULL: nowhere


# Level of priority, lowest first: index into PRIORITIES. False: it is shed.
cdef bint load_enter(Load* load, uint32_t level, int64_t now_us) noexcept nogil
# began_us: when load_enter let it through.
cdef void load_leave(Load* load, int64_t began_us, int64_t latency_us, int64_t now_us) noexcept nogil


cdef class Shedder:
    cdef Load load
    cdef Segment segment        # keeps `load.shown` mapped
    cdef object __weakref__
    cdef void show(self, Segment segment, int worker, int slot) noexcept


cdef struct Shed:
    Load* load                  # borrowed from the Shedder
    const SelectorPart* parts   # borrowed from the Selector
    uint32_t n_parts
    uint32_t n_values
    Hash seed
    Hash values[64]             # under the seed
    uint8_t levels[64]          # of the values
    uint8_t level               # of a request that has none of the values
    uint8_t dry
    uint8_t seen                # level of the last request
    uint8_t refused             # it was turned away


cdef class ShedStep(Step):
    cdef Shed shed
    cdef Shedder shedder        # owned
    cdef Selector selector      # owned; None: all requests have one level
    cdef int slot               # of the service in the segment; -1: none
