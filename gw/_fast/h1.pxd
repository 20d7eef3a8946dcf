"""HTTP/1.1 framing for both roles, without sockets: bytes in, facts out (RFC 9112)."""
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t

from gw._fast.headers cimport Head, Span
from gw._fast.llhttp cimport Parser


cdef enum:                      # what a feed function answers
    H1_MORE = 0                 # needs further bytes
    H1_DONE = 1
    H1_BAD = -1                 # see `fault`

cdef enum:                      # how a body is framed (RFC 9112 section 6.3)
    BODY_NONE = 0
    BODY_LENGTH = 1
    BODY_CHUNKED = 2
    BODY_EOF = 3                # answers only: ends with the connection

cdef enum:                      # faults of a message, the gateway maps them to reasons
    FAULT_NONE = 0
    FAULT_SYNTAX = 1
    FAULT_VERSION = 2
    FAULT_HEAD_SIZE = 3
    FAULT_FIELD_COUNT = 4
    FAULT_LINE_SIZE = 5
    FAULT_LENGTH = 6            # Content-Length malformed or contradicting
    FAULT_CODING = 7            # Transfer-Encoding malformed
    FAULT_CODING_UNKNOWN = 8    # a coding gw does not speak
    FAULT_HOST_MISSING = 9
    FAULT_HOST = 10
    FAULT_TARGET = 11
    FAULT_EXPECT = 12
    FAULT_STATUS = 13
    FAULT_CHUNK = 14
    FAULT_TRAILER = 15

cdef enum:                      # Message.flags
    MSG_KEEP_ALIVE = 1          # the sender wants the connection kept
    MSG_EXPECT = 2              # Expect: 100-continue
    MSG_UPGRADE = 4             # Connection: upgrade, with an Upgrade field
    MSG_NOMINATED = 8           # Connection names fields of this message
    MSG_CLOSE = 16              # Connection: close
    MSG_ABSOLUTE = 32           # absolute-form target
    MSG_WATCHED = 64            # set by whoever wants the body whole before it goes on


cdef struct HeadParser:
    Parser engine               # must stay first: callbacks get its address
    Head* head                  # where fields go; owner: whoever owns the HeadParser
    const char* end             # requests: of what was read
    const char* passed          # requests: end of a value that the engine is not shown; NULL but while it pauses for that
    uint32_t fed                # bytes of head.base the engine has seen
    uint32_t line_end           # requests: bytes up to the end of the target, 0 until it was seen
    uint32_t max_fields
    Span method                 # requests
    Span target                 # requests; answers: the reason phrase
    uint8_t primed              # the engine was started
    uint8_t full                # more than max_fields


cdef struct Message:            # facts of one head
    uint32_t head_len           # bytes of the head, from head.base
    uint64_t length             # BODY_LENGTH: bytes of the body
    uint16_t status             # answers
    uint8_t minor               # HTTP/1.minor
    uint8_t framing             # BODY_*
    uint8_t flags               # MSG_*
    uint8_t fault               # FAULT_*
    int16_t host_field          # requests: index of the Host field, -1
    int16_t upgrade_field
    Span method
    Span target                 # requests: as sent; answers: reason phrase


cdef struct Body:               # where a body stands while it is relayed
    uint64_t left               # BODY_LENGTH: bytes missing; BODY_CHUNKED: bytes missing of the current chunk
    uint64_t seen               # payload bytes so far
    uint32_t line               # BODY_CHUNKED: bytes of the current line (size line or trailers)
    uint32_t extensions         # BODY_CHUNKED: bytes of chunk extensions so far
    uint8_t framing
    uint8_t state               # CHUNK_*
    uint8_t done
    uint8_t fault


cdef void head_start(HeadParser* parser, Head* head, uint32_t max_fields) noexcept nogil
cdef int request_feed(HeadParser* parser, const char* base, uint32_t start, uint32_t end, uint32_t max_head, uint32_t max_line, Message* out) noexcept nogil
cdef int response_feed(HeadParser* parser, const char* base, uint32_t end, uint32_t max_head, Message* out) noexcept nogil
cdef void response_framing(Message* message, bint to_head, bint to_connect) noexcept nogil

cdef void body_start(Body* body, uint8_t framing, uint64_t length) noexcept nogil
# BODY_CHUNKED only: takes framed bytes, writes payload to `out` (may not overlap; capacity >= n), trailers to `trailers` (TRAILER_MAX).
cdef int chunked_feed(Body* body, const char* data, uint32_t n, uint32_t* used, char* out, uint32_t* written, char* trailers) noexcept nogil

cdef enum:
    TRAILER_MAX = 8192          # bytes of a trailer section
    CHUNK_LINE_MAX = 4096       # bytes of a chunk's size line with its extensions
    EXTENSIONS_MAX = 16384      # bytes of extensions in a whole body: nobody uses them but attackers

cdef bint host_valid(const char* text, uint32_t n, char* lower, uint32_t* lower_len) noexcept nogil   # RFC 9110 section 7.2; lower: n bytes, no port, no trailing dot
