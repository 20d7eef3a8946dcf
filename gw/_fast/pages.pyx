cdef enum:
    LINE = 64                   # bytes of a cache line
    HUGE = 1 << 21              # bytes of a huge page

cdef extern from "stdlib.h":
    void* aligned_alloc(size_t alignment, size_t size) noexcept nogil

cdef extern from "sys/mman.h":
    int MADV_HUGEPAGE
    int madvise(void* start, size_t n, int advice) noexcept nogil


cdef void* table_room(size_t n) noexcept nogil:
    cdef size_t unit = HUGE if n >= HUGE else LINE
    cdef size_t whole = (n + unit - 1) // unit * unit
    cdef void* room = aligned_alloc(unit, whole)
    if room != NULL and unit == HUGE:
        madvise(room, whole, MADV_HUGEPAGE)     # a kernel that has none serves small pages
    return room
