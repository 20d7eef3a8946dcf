"""Buffers of one size, reused last in, first out: the only memory that message bytes live in between two events. With them the account of all
memory a lane holds: who takes other memory for a connection or an exchange writes it down here."""
from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    """
    #ifdef GW_DEBUG
    enum { GW_SPARES = 0 };
    #else
    enum { GW_SPARES = 1 };
    #endif
    """
    enum:
        SPARES "GW_SPARES"  # 0 in debug and asan builds: nothing freed is kept for the next, so that a sanitizer sees every use of it


cdef enum:                      # what an alarm says
    ALARM_ASK = 1               # somebody should look at the memory there is
    ALARM_FULL = 2              # something was refused

ctypedef void (*OnAlarm)(void* owner, int alarm) noexcept nogil


cdef struct Buf:
    Buf* next               # free list, or the next buffer of a write queue; the holder of the buffer owns the chain
    uint32_t start          # first unread byte of data
    uint32_t end            # one past the last byte written; start <= end <= cap
    uint32_t cap            # bytes in data
    uint32_t pad
    char* data              # points just behind this struct, same allocation


cdef struct Slab:
    Buf* free               # owner of every buffer that nobody holds
    uint32_t cap            # bytes per buffer handed out from now on; smaller old ones are released when given back
    uint32_t n_free
    uint32_t keep           # most free buffers kept
    uint64_t n_taken        # buffers in use now
    uint64_t* held          # bytes written down, free buffers included; in the shared segment, as are the marks; ours is the only writer
    const uint64_t* ask     # bytes held beyond which ALARM_ASK is raised, once for each value it takes
    const uint64_t* most    # bytes held that nothing may pass; >= ask
    uint64_t asked          # the value of ask that was answered with an alarm
    OnAlarm on_alarm        # set with the marks; takes nothing from the slab and gives nothing back
    void* owner             # borrowed: for on_alarm
    uint64_t own            # held of a slab without a segment


cdef void slab_init(Slab* slab, uint32_t cap, uint32_t keep) noexcept nogil
cdef void slab_clear(Slab* slab) noexcept nogil
cdef bint slab_has_room(Slab* slab, uint64_t n) noexcept nogil      # for n bytes more; raises alarms
cdef Buf* buf_take(Slab* slab) noexcept nogil           # NULL when memory is out
cdef void buf_give(Slab* slab, Buf* buf) noexcept nogil
