"""Verified tokens: a table of chains, emptied by a clock hand."""
cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from gw._fast.hash cimport hash_key
from gw._fast.jwt cimport *
from gw._fast.keys cimport KeySet, KeySetState
from gw._fast.openssl cimport RAND_bytes

cdef enum:
    HASHED = 16             # octets at the end of a token that are hashed: all signature, 90 bits of it, so not even the issuer makes two that are equal
    ALLOCATED = 36          # octets that malloc adds to the two parts of an entry, and token_check to a payload
    ENTRIES_MAX = 1 << 24


cdef inline uint64_t _hash(const TokenCache* cache, const char* token, uint32_t n) noexcept nogil:
    cdef uint32_t take = min(n, <uint32_t>HASHED)
    return hash_key(token + n - take, take, cache.seed).lo


cdef inline const char* _token(const TokenEntry* entry) noexcept nogil:
    return <const char*>(entry + 1)


cdef inline uint64_t _octets(const TokenEntry* entry) noexcept nogil:
    # the payload was decoded in room for the token's longest part
    return sizeof(TokenEntry) + 2 * entry.n + ALLOCATED + entry.n_extra


cdef bint token_cache_init(TokenCache* cache, uint32_t n_max, uint64_t octets_max) noexcept nogil:
    cdef uint32_t buckets = 1
    memset(cache, 0, sizeof(TokenCache))
    while buckets < n_max and buckets < ENTRIES_MAX:
        buckets *= 2
    cache.mask = buckets - 1
    cache.n_max = min(n_max, buckets)
    cache.octets_max = octets_max
    cache.buckets = <TokenEntry**>calloc(buckets, sizeof(TokenEntry*))
    cache.slots = <TokenEntry**>calloc(buckets, sizeof(TokenEntry*))
    if cache.buckets == NULL or cache.slots == NULL or RAND_bytes(<unsigned char*>&cache.seed, sizeof(cache.seed)) <= 0:
        token_cache_clear(cache)
        return False
    return True


cdef void token_release(TokenEntry* entry) noexcept nogil:
    entry.refs -= 1
    if entry.refs == 0:
        token_clear(&entry.out)
        free(entry.extra)
        free(entry)


cdef void _remove(TokenCache* cache, TokenEntry* entry) noexcept nogil:
    cdef TokenEntry** link = &cache.buckets[entry.hash & cache.mask]
    while link[0] != entry:
        link = &link[0].next
    link[0] = entry.next
    cache.n -= 1
    cache.slots[entry.slot] = cache.slots[cache.n]
    cache.slots[entry.slot].slot = entry.slot
    cache.octets -= _octets(entry)
    entry.kept = False
    token_release(entry)


cdef void token_cache_drop(TokenCache* cache) noexcept nogil:
    while cache.n > 0:
        _remove(cache, cache.slots[cache.n - 1])


cdef void token_cache_clear(TokenCache* cache) noexcept nogil:
    token_cache_drop(cache)
    free(cache.buckets)
    free(cache.slots)
    cache.buckets = NULL
    cache.slots = NULL


# One step of the hand: what has expired goes, so does what was not found since the last time round.
cdef void _evict(TokenCache* cache, const Rules* rules, int64_t wall_s) noexcept nogil:
    cdef TokenEntry* entry
    while True:
        if cache.hand >= cache.n:
            cache.hand = 0
        entry = cache.slots[cache.hand]
        if not entry.used or token_time(&entry.out, rules, wall_s) == TOKEN_E_EXPIRED:
            cache.evictions += 1
            _remove(cache, entry)       # the last one takes its slot, and is next
            return
        entry.used = False
        cache.hand += 1


cdef void _keep(TokenCache* cache, const Rules* rules, TokenEntry* entry, int64_t wall_s) noexcept nogil:
    cdef TokenEntry** bucket = &cache.buckets[entry.hash & cache.mask]
    if cache.n_max == 0 or _octets(entry) > cache.octets_max:
        return
    while cache.n == cache.n_max or cache.octets + _octets(entry) > cache.octets_max:
        _evict(cache, rules, wall_s)
    entry.slot = cache.n
    entry.refs += 1
    entry.used = False
    entry.kept = True
    entry.next = bucket[0]
    bucket[0] = entry
    cache.slots[cache.n] = entry
    cache.n += 1
    cache.octets += _octets(entry)


cdef void* token_extend(TokenCache* cache, const Rules* rules, TokenEntry* entry, uint32_t n, int64_t wall_s) noexcept nogil:
    entry.extra = malloc(n)
    if entry.extra == NULL:
        return NULL
    entry.n_extra = n
    if entry.kept:
        cache.octets += n
        while cache.octets > cache.octets_max:
            _evict(cache, rules, wall_s)        # at last the entry itself
    return entry.extra


cdef TokenEntry* _find(TokenCache* cache, uint64_t hash, const char* token, uint32_t n) noexcept nogil:
    cdef TokenEntry* entry = cache.buckets[hash & cache.mask]
    while entry != NULL and not (entry.hash == hash and entry.n == n and memcmp(_token(entry), token, n) == 0):
        entry = entry.next
    return entry


cdef int _check(const KeySetState* keys, const Rules* rules, const char* token, uint32_t n, int64_t wall_s, TokenEntry** out) noexcept nogil:
    cdef TokenOut checked
    cdef TokenEntry* entry
    cdef int code = token_check(keys, rules, token, n, wall_s, &checked)
    if code < 0:
        return code
    entry = <TokenEntry*>malloc(sizeof(TokenEntry) + n)
    if entry == NULL:
        token_clear(&checked)
        return TOKEN_E_MEMORY
    entry.out = checked
    entry.refs = 1
    entry.kept = False
    entry.extra = NULL
    entry.n_extra = 0
    entry.n = n
    memcpy(<char*>(entry + 1), token, n)
    out[0] = entry
    return TOKEN_OK


cdef int _hit(TokenCache* cache, const Rules* rules, TokenEntry* entry, int64_t wall_s, TokenEntry** out) noexcept nogil:
    cdef int code = token_time(&entry.out, rules, wall_s)
    if code == TOKEN_OK:
        cache.hits += 1
        entry.used = True
        entry.refs += 1
        out[0] = entry
    elif code == TOKEN_E_EXPIRED:
        _remove(cache, entry)
    return code


cdef int token_authenticate(
    TokenCache* cache, const KeySetState* keys, const Rules* rules, const char* token, uint32_t n, int64_t wall_s, TokenEntry** entry,
) noexcept nogil:
    cdef TokenEntry* found
    cdef uint64_t hash
    cdef int code
    if cache == NULL:
        return _check(keys, rules, token, n, wall_s, entry)
    if cache.generation != keys.generation or cache.identity != rules.identity:
        token_cache_drop(cache)
        cache.generation = keys.generation
        cache.identity = rules.identity
    hash = _hash(cache, token, n)
    found = _find(cache, hash, token, n)
    if found != NULL:
        return _hit(cache, rules, found, wall_s, entry)
    cache.misses += 1
    code = _check(keys, rules, token, n, wall_s, entry)
    if code == TOKEN_OK:
        entry[0].hash = hash
        _keep(cache, rules, entry[0], wall_s)
    return code


@cython.final
cdef class Entry:
    cdef TokenEntry* entry

    def __dealloc__(self) -> None:
        if self.entry != NULL:
            token_release(self.entry)

    @property
    def claims(self) -> dict:
        return token_dict(&self.entry.out)


@cython.final
cdef class Cache:
    """A TokenCache, for Python."""
    cdef TokenCache cache

    def __cinit__(self, entries: int, octets: int) -> None:
        if not 0 <= entries <= ENTRIES_MAX:
            raise ValueError(f"entries: {entries}, expected 0 to {ENTRIES_MAX}")
        if not token_cache_init(&self.cache, entries, octets):
            raise MemoryError

    def __dealloc__(self) -> None:
        if self.cache.buckets != NULL:
            token_cache_clear(&self.cache)

    def __len__(self) -> int:
        return self.cache.n

    @property
    def octets(self) -> int:
        return self.cache.octets

    @property
    def hits(self) -> int:
        return self.cache.hits

    @property
    def misses(self) -> int:
        return self.cache.misses

    @property
    def evictions(self) -> int:
        return self.cache.evictions

    def check(self, KeySet keys not None, TokenRules rules not None, bytes token not None, int64_t wall_s):
        cdef Entry entry = Entry.__new__(Entry)
        cdef int code = token_authenticate(&self.cache, &keys.state, &rules.rules, token, octets_of(token), wall_s, &entry.entry)
        return entry if code == TOKEN_OK else token_name(code).decode()

    def _repeat(self, KeySet keys not None, TokenRules rules not None, list tokens not None, int64_t wall_s, uint64_t times):
        cdef TokenEntry* entry
        cdef uint64_t good = 0, i
        cdef size_t n = len(tokens)
        cdef bytes token
        for i in range(times):
            token = tokens[i % n]
            if token_authenticate(&self.cache, &keys.state, &rules.rules, token, octets_of(token), wall_s, &entry) == TOKEN_OK:
                good += 1
                token_release(entry)
        return good
