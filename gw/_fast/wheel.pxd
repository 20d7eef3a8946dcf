"""Deadlines without a timer object each: an intrusive wheel of 50 ms ticks. Moving a deadline further away is one store."""
from libc.stdint cimport int64_t


cdef enum:
    TICK_MS = 50            # resolution of every time-out
    SLOTS = 2048            # horizon 102 s; deadlines beyond it are filed at the horizon and looked at again there


cdef struct Timer:          # embedded as the first member of what it times
    Timer* next             # ring of its slot; NULL when not filed
    Timer* prev
    int64_t deadline        # CLOCK_MONOTONIC ms; NEVER when off
    int64_t tick            # slot it is filed under, in ticks; always <= deadline's tick (lazily re-filed)


cdef struct Wheel:
    int64_t tick            # last tick handled
    Timer slots[2048]       # ring heads


ctypedef void (*Expired)(Timer* timer) noexcept nogil

cdef int64_t NEVER
cdef void wheel_init(Wheel* wheel, int64_t now_ms) noexcept nogil
cdef void timer_init(Timer* timer) noexcept nogil
cdef void timer_file(Wheel* wheel, Timer* timer, int64_t tick) noexcept nogil
cdef void timer_clear(Timer* timer) noexcept nogil
cdef void wheel_advance(Wheel* wheel, int64_t now_ms, Expired expired) noexcept nogil


cdef inline void timer_set(Wheel* wheel, Timer* timer, int64_t deadline) noexcept nogil:
    cdef int64_t tick
    timer.deadline = deadline
    tick = deadline // TICK_MS + 1
    if timer.next == NULL or tick < timer.tick:
        timer_file(wheel, timer, tick)


cdef inline void timer_off(Timer* timer) noexcept nogil:
    timer.deadline = 0x7fffffffffffffff
