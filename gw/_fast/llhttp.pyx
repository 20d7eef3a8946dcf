from libc.stdint cimport uint8_t
from libc.string cimport memset

from httptools.parser import parser as _engine_module

from gw._fast.library cimport Library

ctypedef void (*InitFunction)(Parser*, int, const Settings*) noexcept nogil
ctypedef int (*ExecuteFunction)(Parser*, const char*, size_t) noexcept nogil
ctypedef void (*ResumeFunction)(Parser*) noexcept nogil
ctypedef const char* (*PositionFunction)(const Parser*) noexcept nogil
ctypedef int (*NumberFunction)(const Parser*) noexcept nogil
ctypedef void (*SwitchFunction)(Parser*, int) noexcept nogil
ctypedef uint8_t (*ByteFunction)(const Parser*) noexcept nogil

cdef InitFunction _init
cdef ExecuteFunction _execute
cdef ResumeFunction _resume
cdef PositionFunction _error_pos
cdef NumberFunction _status
cdef ByteFunction _major
cdef ByteFunction _minor
cdef SwitchFunction _set_any_version


cdef void parser_init(Parser* parser, int kind, const Settings* settings) noexcept nogil:
    _init(parser, kind, settings)


cdef int parser_execute(Parser* parser, const char* data, size_t n) noexcept nogil:
    return _execute(parser, data, n)


cdef void parser_go_on(Parser* parser) noexcept nogil:
    _resume(parser)


cdef const char* parser_stopped_at(const Parser* parser) noexcept nogil:
    return _error_pos(parser)


cdef int parser_status(const Parser* parser) noexcept nogil:
    return _status(parser)


cdef int parser_major(const Parser* parser) noexcept nogil:
    return _major(parser)


cdef int parser_minor(const Parser* parser) noexcept nogil:
    return _minor(parser)


cdef void parser_any_version(Parser* parser) noexcept nogil:
    _set_any_version(parser, 1)


# What the self-check saw: one bit per callback, in the order of the message.
cdef uint8_t _seen = 0


cdef int _check_url(Parser* parser, const char* at, size_t n) noexcept nogil:
    global _seen
    _seen |= 1 if n == 2 and at[0] == c"/" else 0
    return 0


cdef int _check_field(Parser* parser, const char* at, size_t n) noexcept nogil:
    global _seen
    _seen |= 2 if n == 1 and at[0] == c"a" else 0
    return 0


cdef int _check_value(Parser* parser, const char* at, size_t n) noexcept nogil:
    global _seen
    _seen |= 4 if n == 1 and at[0] == c"b" else 0
    return 0


cdef int _check_status(Parser* parser, const char* at, size_t n) noexcept nogil:
    global _seen
    _seen |= 8 if n == 2 and at[0] == c"N" else 0
    return 0


cdef int _check_complete(Parser* parser) noexcept nogil:
    global _seen
    _seen |= 16
    return HPE_PAUSED


cdef int _check_pause(Parser* parser, const char* at, size_t n) noexcept nogil:
    return HPE_PAUSED


cdef int _check_empty(Parser* parser, const char* at, size_t n) noexcept nogil:
    global _seen
    _seen |= 1 if n == 0 else 2
    return 0


cdef bint _passes_over():
    """Whether a value can be left out: the parser pauses behind a name and goes on at the line's end, as after a value that is empty."""
    global _seen
    cdef Settings settings
    cdef Parser parser
    cdef bytes message = b"GET / HTTP/1.1\r\nname: value\r\n\r\n"
    cdef const char* text = message
    memset(&settings, 0, sizeof(settings))
    settings.on_header_field = _check_pause
    settings.on_header_value = _check_empty
    settings.on_headers_complete = _check_complete
    _seen = 0
    parser_init(&parser, HTTP_REQUEST, &settings)
    if parser_execute(&parser, text, len(message)) != HPE_PAUSED or parser_stopped_at(&parser) != text + 21:
        return False
    parser_go_on(&parser)
    return parser_execute(&parser, text + 27, len(message) - 27) == HPE_PAUSED and _seen & ~1 == 16 and parser_stopped_at(&parser) == text + len(message)


cdef struct Guarded:
    Parser parser
    uint8_t guard[64]


cdef bint _agrees(int kind, bytes message, uint8_t expected):
    """Whether one known message gives the callbacks, the position and the numbers gw relies on, within the struct's size."""
    global _seen
    cdef Settings settings
    cdef Guarded box
    cdef const char* text = message
    cdef int code, i
    memset(&settings, 0, sizeof(settings))
    settings.on_url = _check_url
    settings.on_status = _check_status
    settings.on_header_field = _check_field
    settings.on_header_value = _check_value
    settings.on_headers_complete = _check_complete
    memset(&box, 0xA5, sizeof(box))
    _seen = 0
    parser_init(&box.parser, kind, &settings)
    code = parser_execute(&box.parser, text, len(message))
    for i in range(64):
        if box.guard[i] != 0xA5:
            return False
    if code != HPE_PAUSED or _seen != expected or parser_stopped_at(&box.parser) != text + len(message):
        return False
    return parser_major(&box.parser) == 1 and parser_minor(&box.parser) == 1 and (kind == HTTP_REQUEST or parser_status(&box.parser) == 204)


def _bind():
    global _init, _execute, _resume, _error_pos, _status, _major, _minor, _set_any_version
    cdef Library library = Library("httptools", _engine_module, "httptools 0.9 (pip install 'httptools>=0.9,<0.10')")
    _init = <InitFunction>library.symbol(b"llhttp_init")
    _execute = <ExecuteFunction>library.symbol(b"llhttp_execute")
    _resume = <ResumeFunction>library.symbol(b"llhttp_resume")
    _error_pos = <PositionFunction>library.symbol(b"llhttp_get_error_pos")
    _status = <NumberFunction>library.symbol(b"llhttp_get_status_code")
    _major = <ByteFunction>library.symbol(b"llhttp_get_http_major")
    _set_any_version = <SwitchFunction>library.symbol(b"llhttp_set_lenient_version")
    _minor = <ByteFunction>library.symbol(b"llhttp_get_http_minor")
    cdef bint request = _agrees(HTTP_REQUEST, b"GET /x HTTP/1.1\r\na: b\r\n\r\n", 1 | 2 | 4 | 16)
    cdef bint response = _agrees(HTTP_RESPONSE, b"HTTP/1.1 204 No\r\na: b\r\n\r\n", 2 | 4 | 8 | 16)
    if not (request and response and _passes_over()):
        raise ImportError(f"httptools at {_engine_module.__file__} holds a parser whose interface gw does not know: install httptools 0.9 (pip install 'httptools>=0.9,<0.10')")


_bind()
