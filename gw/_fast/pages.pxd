"""Memory of large tables that are looked up anywhere."""

cdef extern from *:
    void prefetch "__builtin_prefetch"(const void* p) noexcept nogil     # begins to fetch the cache line of p, and goes on


# n bytes at a cache line; in huge pages where that pays, so that a look costs a cache miss but no walk through page tables. free() gives it back; NULL: no memory.
cdef void* table_room(size_t n) noexcept nogil
