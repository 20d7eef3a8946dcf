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
