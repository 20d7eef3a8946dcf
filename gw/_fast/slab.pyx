from libc.stdint cimport UINT64_MAX
from libc.stdlib cimport free, malloc

# Buffers are spread over the cache sets: a power-of-two stride would put the start of each into the same few sets (PERF: 512 connections).
cdef enum: COLOUR = 576

cdef uint64_t NO_MARK = UINT64_MAX


cdef void slab_init(Slab* slab, uint32_t cap, uint32_t keep) noexcept nogil:
    slab.free = NULL
    slab.cap = cap
    slab.n_free = 0
    slab.keep = keep
    slab.n_taken = 0
    slab.own = 0
    slab.held = &slab.own
    slab.ask = &NO_MARK
    slab.most = &NO_MARK
    slab.asked = 0
    slab.on_alarm = NULL
    slab.owner = NULL


cdef inline size_t _size(uint32_t cap) noexcept nogil:
    return sizeof(Buf) + cap + SPARES * COLOUR


cdef void _free(Slab* slab, Buf* buf) noexcept nogil:
    slab.held[0] -= _size(buf.cap)
    free(buf)


cdef bint slab_has_room(Slab* slab, uint64_t n) noexcept nogil:
    cdef uint64_t held = slab.held[0] + n
    if held <= slab.ask[0]:
        return True
    if slab.asked != slab.ask[0]:
        slab.asked = slab.ask[0]
        slab.on_alarm(slab.owner, ALARM_ASK)
    if held <= slab.most[0]:
        return True
    slab.on_alarm(slab.owner, ALARM_FULL)
    return False


cdef void slab_clear(Slab* slab) noexcept nogil:
    cdef Buf* buf
    while slab.free != NULL:
        buf = slab.free
        slab.free = buf.next
        _free(slab, buf)
    slab.n_free = 0


cdef Buf* _grow(Slab* slab) noexcept nogil:
    cdef Buf* buf = <Buf*>malloc(_size(slab.cap)) if slab_has_room(slab, _size(slab.cap)) else NULL
    if buf == NULL:
        return NULL
    slab.held[0] += _size(slab.cap)
    buf.next = NULL
    buf.start = 0
    buf.end = 0
    buf.cap = slab.cap
    buf.data = <char*>buf + sizeof(Buf)
    slab.n_taken += 1
    return buf


cdef Buf* buf_take(Slab* slab) noexcept nogil:
    cdef Buf* buf
    while slab.free != NULL:
        buf = slab.free
        slab.free = buf.next
        slab.n_free -= 1
        if buf.cap >= slab.cap:
            buf.next = NULL
            buf.start = 0
            buf.end = 0
            slab.n_taken += 1
            return buf
        _free(slab, buf)
    return _grow(slab)


cdef void buf_give(Slab* slab, Buf* buf) noexcept nogil:
    slab.n_taken -= 1
    if slab.n_free >= slab.keep or buf.cap < slab.cap:
        _free(slab, buf)
        return
    buf.next = slab.free
    slab.free = buf
    slab.n_free += 1
