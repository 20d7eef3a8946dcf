from libc.stdlib cimport free, malloc

# Buffers are spread over the cache sets: a power-of-two stride would put the start of each into the same few sets (PERF: 512 connections).
cdef enum: COLOUR = 576


cdef void slab_init(Slab* slab, uint32_t cap, uint32_t keep) noexcept nogil:
    slab.free = NULL
    slab.cap = cap
    slab.n_free = 0
    slab.keep = keep
    slab.n_taken = 0


cdef void slab_clear(Slab* slab) noexcept nogil:
    cdef Buf* buf
    while slab.free != NULL:
        buf = slab.free
        slab.free = buf.next
        free(buf)
    slab.n_free = 0


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
        free(buf)
    buf = <Buf*>malloc(sizeof(Buf) + slab.cap + SPARES * COLOUR)
    if buf == NULL:
        return NULL
    buf.next = NULL
    buf.start = 0
    buf.end = 0
    buf.cap = slab.cap
    buf.data = <char*>buf + sizeof(Buf)
    slab.n_taken += 1
    return buf


cdef void buf_give(Slab* slab, Buf* buf) noexcept nogil:
    slab.n_taken -= 1
    if slab.n_free >= slab.keep or buf.cap < slab.cap:
        free(buf)
        return
    buf.next = slab.free
    slab.free = buf
    slab.n_free += 1
