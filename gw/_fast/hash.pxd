"""A keyed hash: SipHash-1-3 with 128 bits. Whoever does not know the seed cannot make two keys meet.

One round a word and three at the end are what Rust, Ruby and CPython hash their tables with: enough where the hash itself is never told.
"""
from libc.stdint cimport uint64_t


cdef struct Hash:
    uint64_t lo
    uint64_t hi


# Of n bytes at p under a seed. Several texts at once: each under the hash of the one before, so that where one ends and the next begins is hashed too.
cdef Hash hash_key(const char* p, size_t n, Hash seed) noexcept nogil
