cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from gw._fast.openssl cimport (
    EVP_DigestFinal_ex, EVP_DigestInit_ex2, EVP_DigestUpdate, EVP_MD, EVP_MD_CTX_free, EVP_MD_CTX_new, EVP_MD_fetch,
)

cdef enum:
    DIGEST = 32                 # bytes
    KEYS_MAX = 1 << 30

cdef struct Record:             # as gw.store packs it
    unsigned char digest[32]
    int64_t expires_s
    uint32_t consumer           # index in the part's list of consumers
    uint32_t id_len

RECORD_SIZE = sizeof(Record)

# Fetched once: the one-shot functions of OpenSSL 3 look the algorithm up at every call.
cdef EVP_MD* SHA256 = EVP_MD_fetch(NULL, b"SHA256", NULL)


cdef inline uint64_t _place(const unsigned char* digest) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, digest, sizeof(word))
    return word


cdef inline uint64_t _tag(uint64_t place) noexcept nogil:
    return place & <uint64_t>0xffffffff00000000


cdef const ApiKey* _find(const ApiKeyTable* table, const unsigned char* digest) noexcept nogil:
    cdef uint64_t place = _place(digest)
    cdef uint32_t at = <uint32_t>place & table.mask
    cdef uint64_t slot = table.slots[at]
    cdef const ApiKey* key
    while slot != 0:
        if _tag(slot) == _tag(place):
            key = &table.keys[<uint32_t>slot - 1]
            if memcmp(key.digest, digest, DIGEST) == 0:
                return key
        at = (at + 1) & table.mask
        slot = table.slots[at]
    return NULL


cdef const ApiKey* api_key_find(const ApiKeysState* state, const char* text, uint32_t n) noexcept nogil:
    cdef unsigned char digest[DIGEST]
    if not (EVP_DigestInit_ex2(state.digesting, SHA256, NULL) and EVP_DigestUpdate(state.digesting, text, n) and EVP_DigestFinal_ex(state.digesting, digest, NULL)):
        return NULL
    return _find(state.table, digest)


cdef void api_keys_release(void* held) noexcept nogil:
    cdef ApiKeyTable* table = <ApiKeyTable*>held
    table.refs -= 1
    if table.refs == 0:
        free(table.keys)
        free(table.slots)
        free(table.text)
        free(table)


cdef ApiKeyTable* _new(size_t n, size_t text_len) except NULL:
    cdef ApiKeyTable* table
    cdef uint32_t slots = 2
    if n > KEYS_MAX:
        raise ValueError(f"{n} keys are more than a table can hold")
    while slots < 2 * n:
        slots *= 2
    table = <ApiKeyTable*>calloc(1, sizeof(ApiKeyTable))
    if table == NULL:
        raise MemoryError
    table.refs = 1
    table.mask = slots - 1
    table.keys = <ApiKey*>calloc(n + 1, sizeof(ApiKey))
    table.slots = <uint64_t*>calloc(slots, sizeof(uint64_t))
    table.text = <char*>malloc(text_len + 1)
    if table.keys == NULL or table.slots == NULL or table.text == NULL:
        api_keys_release(table)
        raise MemoryError
    return table


cdef void _add(ApiKeyTable* table, const Record* record, uint32_t consumer, const char* id) noexcept nogil:
    cdef ApiKey* key = &table.keys[table.n]
    cdef uint64_t place = _place(record.digest)
    cdef uint32_t at = <uint32_t>place & table.mask
    if _find(table, record.digest) != NULL:
        return
    memcpy(key.digest, record.digest, DIGEST)
    key.expires_s = record.expires_s
    key.id = id
    key.id_len = record.id_len
    key.consumer = consumer
    table.n += 1
    while table.slots[at] != 0:
        at = (at + 1) & table.mask
    table.slots[at] = _tag(place) | table.n


cdef size_t _add_part(ApiKeyTable* table, size_t at, bytes records, bytes ids, list consumers) except? 0:
    """Copies the ids to `at` in the table's text; where the next part's begin."""
    cdef Record record
    cdef size_t end = at + len(ids)
    cdef Py_ssize_t i
    memcpy(table.text + at, PyBytes_AS_STRING(ids), len(ids))
    for i in range(len(records) // sizeof(Record)):
        memcpy(&record, PyBytes_AS_STRING(records) + i * sizeof(Record), sizeof(Record))
        if record.consumer >= len(consumers) or record.id_len > end - at:
            raise ValueError(f"record {i} of keys names what is not there")
        consumer = consumers[record.consumer]
        if consumer is not None:
            _add(table, &record, consumer, table.text + at)
        at += record.id_len
    return end


@cython.final
cdef class ApiKeys:
    """All keys that the policies of one snapshot accept."""
    def __cinit__(self) -> None:
        self.state.digesting = EVP_MD_CTX_new()
        if SHA256 == NULL or self.state.digesting == NULL:
            raise MemoryError("OpenSSL has no SHA-256 to offer")
        self.state.table = _new(0, 0)

    def __dealloc__(self) -> None:
        if self.state.table != NULL:
            api_keys_release(self.state.table)
        EVP_MD_CTX_free(self.state.digesting)

    def __len__(self) -> int:
        return self.state.table.n

    def __repr__(self) -> str:
        return f"<ApiKeys {self.state.table.n}{'' if self.state.whole else ', the store has not been read'}>"

    def fill(self, parts: list, *, whole: bool) -> None:
        cdef ApiKeyTable* table
        cdef size_t at = 0
        if any(len(records) % sizeof(Record) for records, _, _ in parts):
            raise ValueError(f"a record of keys has {sizeof(Record)} bytes")
        table = _new(sum(len(records) // sizeof(Record) for records, _, _ in parts), sum(len(ids) for _, ids, _ in parts))
        try:
            for records, ids, consumers in parts:
                at = _add_part(table, at, records, ids, consumers)
        except BaseException:
            api_keys_release(table)
            raise
        api_keys_release(self.state.table)
        self.state.table = table
        self.state.whole = whole

    def find(self, key: bytes) -> tuple | None:
        cdef const ApiKey* found = api_key_find(&self.state, PyBytes_AS_STRING(key), <uint32_t>len(key))
        return None if found == NULL else (found.id[:found.id_len].decode(), found.consumer, found.expires_s)

    def _repeat(self, keys: list, times: int) -> int:
        cdef list texts = keys
        cdef bytes text
        cdef uint32_t found = 0, i, rounds = times
        for i in range(rounds):
            text = texts[i % len(texts)]
            found += api_key_find(&self.state, PyBytes_AS_STRING(text), <uint32_t>len(text)) != NULL
        return found
