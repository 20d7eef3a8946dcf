"""Tokens that were verified, kept until they expire, the keys or rules change, or room is needed. One cache belongs to one worker and one route's rules."""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from gw._fast.hash cimport Hash
from gw._fast.jwt cimport Rules, TokenOut
from gw._fast.keys cimport KeySetState


cdef struct TokenEntry:
    TokenOut out            # owned
    TokenEntry* next        # same bucket; the cache keeps the chain
    uint64_t hash
    uint32_t refs           # the cache holds one as long as it is in there; the last one to go frees the entry
    uint32_t slot           # where in TokenCache.slots it stands
    uint32_t n              # octets of the token, which stand behind this struct in the same allocation
    bint used               # found since the hand last passed
    bint kept               # in a cache
    void* extra             # owned: what the holder has worked out of the claims, once for all who find the token; NULL: nothing yet
    uint32_t n_extra        # octets of it


cdef struct TokenCache:
    TokenEntry** buckets    # owned array of chains
    TokenEntry** slots      # owned array; slots[0 .. n) are set, in no order; the hand goes round them
    uint32_t n
    uint32_t n_max          # entries; 0: nothing is kept
    uint32_t mask           # buckets - 1
    uint32_t hand
    uint64_t octets         # of memory, all entries, rounded up
    uint64_t octets_max
    Hash seed               # nobody outside can aim at one bucket
    uint64_t generation     # of the KeySet, and
    uint64_t identity       # of the Rules that the entries were checked with
    uint64_t hits
    uint64_t misses
    uint64_t evictions      # for want of room


# False when memory or randomness is out; there is nothing to clear then.
cdef bint token_cache_init(TokenCache* cache, uint32_t n_max, uint64_t octets_max) noexcept nogil
cdef void token_cache_drop(TokenCache* cache) noexcept nogil        # forget every entry; who holds one goes on holding it
cdef void token_cache_clear(TokenCache* cache) noexcept nogil       # and free the arrays

# Check a token, or find it checked. TOKEN_OK, and entry[0] is a reference for the caller, or a TOKEN_E_*. Refusals are not kept: who sends
# rubbish must not be able to push out what others need. Without a cache (NULL) every token is checked.
cdef int token_authenticate(
    TokenCache* cache, const KeySetState* keys, const Rules* rules, const char* token, uint32_t n, int64_t wall_s, TokenEntry** entry,
) noexcept nogil
# Room for TokenEntry.extra, which must be NULL; counted in the cache, if that holds the entry. NULL: no memory.
cdef void* token_extend(TokenCache* cache, const Rules* rules, TokenEntry* entry, uint32_t n, int64_t wall_s) noexcept nogil
cdef void token_release(TokenEntry* entry) noexcept nogil
