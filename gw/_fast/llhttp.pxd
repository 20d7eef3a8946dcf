"""llhttp, the parser inside httptools' extension module, called at C level: no object per callback."""
from libc.stdint cimport uint64_t


cdef struct Parser:             # llhttp_t, opaque; llhttp 9 uses 104 bytes of it (checked with guard bytes at import)
    uint64_t opaque[16]


ctypedef int (*DataCallback)(Parser* parser, const char* at, size_t length) noexcept nogil
ctypedef int (*Callback)(Parser* parser) noexcept nogil


cdef struct Settings:           # llhttp_settings_t of llhttp 9.3; only what gw sets is named after its use
    Callback on_message_begin
    DataCallback on_protocol
    DataCallback on_url
    DataCallback on_status
    DataCallback on_method
    DataCallback on_version
    DataCallback on_header_field
    DataCallback on_header_value
    DataCallback on_chunk_extension_name
    DataCallback on_chunk_extension_value
    Callback on_headers_complete
    void* rest[24]              # later callbacks, never set


cdef enum:
    HTTP_REQUEST = 1
    HTTP_RESPONSE = 2
    HPE_OK = 0
    HPE_PAUSED = 21
    HPE_USER = 24

cdef void parser_init(Parser* parser, int kind, const Settings* settings) noexcept nogil
cdef int parser_execute(Parser* parser, const char* data, size_t n) noexcept nogil
cdef void parser_go_on(Parser* parser) noexcept nogil                # after a callback that answered HPE_PAUSED
cdef const char* parser_stopped_at(const Parser* parser) noexcept nogil
cdef int parser_status(const Parser* parser) noexcept nogil
cdef int parser_major(const Parser* parser) noexcept nogil
cdef int parser_minor(const Parser* parser) noexcept nogil
cdef void parser_any_version(Parser* parser) noexcept nogil          # HTTP/x.y of any x and y
