cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from gw._fast.openssl cimport (
    EVP_DigestFinal_ex, EVP_DigestInit_ex2, EVP_DigestUpdate, EVP_MD, EVP_MD_CTX_free, EVP_MD_CTX_new, EVP_MD_fetch,
)
from gw._fast.pages cimport table_room

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


cdef ApiKey* _slot(const ApiKeyTable* table, const unsigned char* digest) noexcept nogil:
    """Where the key is, or else would be."""
    cdef uint32_t word, at
    memcpy(&word, digest, sizeof(word))
    at = <uint32_t>(<uint64_t>word * table.n_slots >> 32)
    while table.keys[at].id != NULL and memcmp(table.keys[at].digest, digest, DIGEST) != 0:
        at = at + 1 if at + 1 < table.n_slots else 0
    return &table.keys[at]


cdef const ApiKey* api_key_find(const ApiKeysState* state, const char* text, uint32_t n) noexcept nogil:
    cdef unsigned char digest[DIGEST]
    cdef const ApiKey* key
    if not (EVP_DigestInit_ex2(state.digesting, SHA256, NULL) and EVP_DigestUpdate(state.digesting, text, n) and EVP_DigestFinal_ex(state.digesting, digest, NULL)):
        return NULL
    key = _slot(state.table, digest)
    return key if key.id != NULL else NULL


cdef void api_keys_release(void* held) noexcept nogil:
    cdef ApiKeyTable* table = <ApiKeyTable*>held
    table.refs -= 1
    if table.refs == 0:
        free(table.keys)
        free(table.text)
        free(table)


cdef ApiKeyTable* _new(size_t n, size_t text_len) except NULL:
    cdef ApiKeyTable* table
    if n > KEYS_MAX:
        raise ValueError(f"{n} keys are more than a table can hold")
    table = <ApiKeyTable*>calloc(1, sizeof(ApiKeyTable))
    if table == NULL:
        raise MemoryError
    table.refs = 1
    table.n_slots = <uint32_t>(2 * n + 1)
    table.keys = <ApiKey*>table_room(table.n_slots * sizeof(ApiKey))
    table.text = <char*>malloc(text_len + 1)
    if table.keys == NULL or table.text == NULL:
        api_keys_release(table)
        raise MemoryError
    memset(table.keys, 0, table.n_slots * sizeof(ApiKey))
    return table


cdef void _add(ApiKeyTable* table, const Record* record, uint32_t consumer, const char* id) noexcept nogil:
    cdef ApiKey* key = _slot(table, record.digest)
    if key.id != NULL:
        return
    memcpy(key.digest, record.digest, DIGEST)
    key.expires_s = record.expires_s
    key.id = id
    key.id_len = record.id_len
    key.consumer = consumer
    table.n += 1


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
