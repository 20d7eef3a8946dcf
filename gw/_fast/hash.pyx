from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memcpy

from gw._fast.octets cimport word_at


cdef inline uint64_t _rotated(uint64_t x, int bits) noexcept nogil:
    return (x << bits) | (x >> (64 - bits))


cdef inline void _rounds(uint64_t* v, int n) noexcept nogil:
    cdef int _
    for _ in range(n):
        v[0] += v[1]
        v[2] += v[3]
        v[1] = _rotated(v[1], 13) ^ v[0]
        v[3] = _rotated(v[3], 16) ^ v[2]
        v[0] = _rotated(v[0], 32)
        v[2] += v[1]
        v[0] += v[3]
        v[1] = _rotated(v[1], 17) ^ v[2]
        v[3] = _rotated(v[3], 21) ^ v[0]
        v[2] = _rotated(v[2], 32)


cdef inline void _absorb(uint64_t* v, uint64_t word) noexcept nogil:
    v[3] ^= word
    _rounds(v, 1)
    v[0] ^= word


cdef Hash hash_key(const char* p, size_t n, Hash seed) noexcept nogil:
    cdef uint64_t v[4]
    cdef uint64_t word
    cdef size_t at = 0
    cdef Hash out
    v[0] = seed.lo ^ <uint64_t>0x736f6d6570736575
    v[1] = seed.hi ^ <uint64_t>0x646f72616e646f6d ^ 0xee
    v[2] = seed.lo ^ <uint64_t>0x6c7967656e657261
    v[3] = seed.hi ^ <uint64_t>0x7465646279746573
    while n - at >= 8:
        _absorb(v, word_at(p + at, 8))
        at += 8
    word = <uint64_t>n << 56 | word_at(p + at, n - at)
    _absorb(v, word)
    v[2] ^= 0xee
    _rounds(v, 3)
    out.lo = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xdd
    _rounds(v, 3)
    out.hi = v[0] ^ v[1] ^ v[2] ^ v[3]
    return out


cdef Hash _given(bytes seed) except *:
    cdef Hash found
    if len(seed) != sizeof(Hash):
        raise ValueError(f"a seed has {sizeof(Hash)} bytes, not {len(seed)}")
    memcpy(&found, PyBytes_AS_STRING(seed), sizeof(Hash))
    return found


def digest(bytes key not None, bytes seed not None):
    cdef Hash found = hash_key(PyBytes_AS_STRING(key), len(key), _given(seed))
    return (<char*>&found)[:sizeof(Hash)]


def _repeat(bytes key not None, uint64_t times):
    cdef uint64_t _
    cdef Hash chained = Hash(1, 2)
    cdef const char* text = PyBytes_AS_STRING(key)
    cdef size_t n = len(key)
    with nogil:
        for _ in range(times):
            chained = hash_key(text, n, chained)
    return chained.lo
