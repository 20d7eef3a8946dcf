"""Keys of callers, found by their SHA-256: an open-addressing table that is replaced whole when keys change.

What is compared is a hash of what was sent, so the time that a search takes tells nothing about the keys that are there. A table belongs to one lane.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from gw._fast.openssl cimport EVP_MD_CTX


cdef struct ApiKey:             # 64 bytes, so that what a search looks at of a key is one cache line
    unsigned char digest[32]    # SHA-256 of the key
    int64_t expires_s           # Unix seconds: refused from then on; 0: never
    const char* id              # UTF-8, in ApiKeyTable.text; NULL: no key is here
    uint32_t id_len
    uint32_t consumer           # index in the snapshot
    uint64_t pad


cdef struct ApiKeyTable:        # never changes; freed with its last reference
    ApiKey* keys                # owned array of n_slots, in which a key stands at or behind where its digest points; at least half are free
    char* text                  # owned: the ids
    uint32_t n
    uint32_t n_slots
    uint32_t refs               # ApiKeys has one, each exchange whose identity points into `text` another


cdef struct ApiKeysState:
    ApiKeyTable* table          # never NULL
    EVP_MD_CTX* digesting       # owned
    bint whole                  # the store's keys are in it, or there is no store


# The key whose text this is, or NULL. It lives as long as the table does.
cdef const ApiKey* api_key_find(const ApiKeysState* state, const char* text, uint32_t n) noexcept nogil
cdef void api_keys_release(void* table) noexcept nogil      # gives one reference back


cdef class ApiKeys:
    cdef ApiKeysState state
