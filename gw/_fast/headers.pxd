"""Heads as spans: offsets into the read buffer that holds the message; no object per field."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef enum:
    MAX_FIELDS = 256        # most fields a head may hold; config cannot raise its limit beyond it


cdef struct Span:           # bytes of somebody else's buffer
    uint32_t off            # bytes from Head.base
    uint32_t len            # bytes


cdef struct Field:          # one header field, as received
    uint32_t name           # offset of the name from Head.base
    uint32_t value          # offset of the value, without leading or trailing white space
    uint32_t value_len
    uint16_t name_len
    uint8_t id              # one of H_*; H_OTHER for a name gw has no use for
    uint8_t flags           # FIELD_*


cdef struct Head:
    const char* base        # borrowed: first byte of the read buffer; the connection that read it owns it
    uint32_t n_fields       # fields[0 .. n_fields) are set
    Field fields[MAX_FIELDS]


cdef struct Target:         # what routing looks at; every pointer is borrowed from the exchange and lives as long as it
    const char* method      # token as sent, case-sensitive
    uint32_t method_len
    const char* host        # lower case, no port, no trailing dot; IPv6 with brackets
    uint32_t host_len
    const char* path        # normalised, starts with '/'
    uint32_t path_len
    const char* query       # raw, without '?'; may be NULL when query_len is 0
    uint32_t query_len
    const Head* head        # for header matches


# The first field from index `start` on whose name is `name` (given in lower case), or -1.
cdef int head_find(const Head* head, const char* name, uint32_t name_len, uint32_t start) noexcept nogil


cdef enum:                  # names gw knows; the order is that of NAMES in headers.pyx
    H_OTHER = 0
    H_HOST = 1
    H_CONTENT_LENGTH = 2
    H_TRANSFER_ENCODING = 3
    H_EXPECT = 4
    # hop-by-hop: never forwarded (RFC 9110 section 7.6.1)
    H_CONNECTION = 5
    H_KEEP_ALIVE = 6
    H_PROXY_CONNECTION = 7
    H_TE = 8
    H_UPGRADE = 9
    H_HTTP2_SETTINGS = 10
    # forwarding fields: dropped unless the peer is trusted
    H_FORWARDED = 11
    H_X_FORWARDED_FOR = 12
    H_X_FORWARDED_PROTO = 13
    H_X_FORWARDED_HOST = 14
    H_X_REAL_IP = 15
    H_X_FORWARDED_OTHER = 16
    H_VIA = 17
    H_TRAILER = 18
    H_DATE = 19
    # what credentials come in
    H_AUTHORIZATION = 20
    H_COOKIE = 21

cdef enum:
    FIELD_DROP = 1          # not to be forwarded
    FIELD_SPELLED = 2       # a known name written with '_' for '-': never forwarded, never believed


cdef uint8_t FOLD[256]      # lower case; '_' counts as '-'
cdef uint8_t TOKEN[256]     # 1 for tchar (RFC 9110 section 5.6.2)

cdef void head_classify(Head* head) noexcept nogil                      # sets id and flags of every field
cdef int head_find_id(const Head* head, uint8_t id, uint32_t start) noexcept nogil
cdef bint same_name(const char* a, const char* b, uint32_t n) noexcept nogil    # equal under FOLD
cdef bint same_token(const char* a, const char* lower, uint32_t n) noexcept nogil  # equal ignoring ASCII case
cdef int head_parse_trailers(const char* data, uint32_t n, char* out) noexcept nogil   # validated field lines without forbidden ones; bytes written or -1
