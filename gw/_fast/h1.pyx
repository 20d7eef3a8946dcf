from libc.string cimport memchr, memcmp, memcpy, memset

from gw._fast.headers cimport (
    FIELD_DROP, FIELD_SPELLED, H_CONNECTION, H_CONTENT_LENGTH, H_EXPECT, H_HOST, H_HTTP2_SETTINGS, H_KEEP_ALIVE, H_PROXY_CONNECTION, H_TE, H_TRANSFER_ENCODING,
    H_UPGRADE, H_DATE, MAX_FIELDS, TOKEN, Field, head_classify, same_name, same_token,
)
from gw._fast.llhttp cimport (
    HPE_OK, HPE_PAUSED, HPE_USER, HTTP_REQUEST, HTTP_RESPONSE, Settings, parser_any_version, parser_execute, parser_go_on, parser_init, parser_major, parser_minor,
    parser_status, parser_stopped_at,
)
from gw._fast.octets cimport controls, text_end

cdef enum:
    METHOD_MAX = 128            # bytes; longer tokens are refused
    NAME_MAX = 65535            # bytes; what Field.name_len can hold
    LEADING_LINES = 16          # bytes of CRLF tolerated before a request (RFC 9112 section 2.2)
    LONG = 44                   # bytes of a value from which on it is cheaper to pass over it than to show it to the engine


cdef inline bint _ows(char c) noexcept nogil:
    return c == c" " or c == c"\t"


# Callbacks of the engine. It reports a span in pieces when the head arrives in pieces: adjacent ones are joined.

cdef int _on_url(Parser* engine, const char* at, size_t n) noexcept nogil:
    cdef HeadParser* parser = <HeadParser*>engine
    cdef uint32_t off = <uint32_t>(at - parser.head.base)
    if parser.target.len == 0:
        parser.target.off = off
    parser.target.len = off + <uint32_t>n - parser.target.off
    return 0


cdef int _on_field(Parser* engine, const char* at, size_t n) noexcept nogil:
    cdef HeadParser* parser = <HeadParser*>engine
    cdef Head* head = parser.head
    cdef uint32_t off = <uint32_t>(at - head.base)
    cdef Field* field
    if head.n_fields:
        field = &head.fields[head.n_fields - 1]
        if field.value == 0 and field.name + field.name_len == off:
            if field.name_len + n > NAME_MAX:
                return HPE_USER
            field.name_len = <uint16_t>(field.name_len + n)
            return 0
    if head.n_fields >= parser.max_fields:
        parser.full = 1
        return HPE_USER
    if n > NAME_MAX:
        return HPE_USER
    field = &head.fields[head.n_fields]
    head.n_fields += 1
    field.name = off
    field.name_len = <uint16_t>n
    field.value = 0
    field.value_len = 0
    return 0


cdef inline bint _frames(const char* name, uint32_t n) noexcept nogil:
    """Its value may mean something to the engine."""
    cdef char first = name[0] | 32
    return (n == 7 and first == c"u") or (n == 10 and first == c"c") or (n == 14 and first == c"c") or (n == 16 and first == c"p") or (n == 17 and first == c"t")


cdef int _on_request_field(Parser* engine, const char* at, size_t n) noexcept nogil:
    """The engine takes five instructions for each byte of a value. A long one, such as a token or cookies, is read by us: the engine sees an empty one in its place."""
    cdef HeadParser* parser = <HeadParser*>engine
    cdef const char* p = at + n
    cdef const char* last
    cdef Field* field
    cdef int code = _on_field(engine, at, n)
    if code or parser.end - p < LONG + 4:
        return code
    field = &parser.head.fields[parser.head.n_fields - 1]
    if p[0] != c":" or controls(p + LONG - 16) or _frames(parser.head.base + field.name, field.name_len):
        return 0
    p += 1
    while p < parser.end and _ows(p[0]):
        p += 1
    last = text_end(p, parser.end)
    if last - p < LONG or parser.end - last < 2 or last[0] != c"\r" or last[1] != c"\n":
        return 0
    field.value = <uint32_t>(p - parser.head.base)
    field.value_len = <uint32_t>(last - p)
    parser.passed = last
    return HPE_PAUSED


cdef int _on_value(Parser* engine, const char* at, size_t n) noexcept nogil:
    cdef Head* head = (<HeadParser*>engine).head
    cdef Field* field = &head.fields[head.n_fields - 1]
    cdef uint32_t off = <uint32_t>(at - head.base)
    if n == 0 and field.value:
        return 0                    # it was passed over, or came in pieces of which this is none
    if field.value == 0:
        field.value = off
    field.value_len = off + <uint32_t>n - field.value
    return 0


cdef int _on_complete(Parser* engine) noexcept nogil:
    return HPE_PAUSED


cdef Settings _settings
cdef Settings _request_settings
cdef Parser _request_engine     # a parser that has just read "GET ", to start from: the method is read by us, any token is one
cdef Parser _connect_engine     # the same behind "CONNECT ", whose target has a form of its own
cdef Parser _response_engine


cdef void _prepare() noexcept nogil:
    memset(&_settings, 0, sizeof(_settings))
    _settings.on_url = _on_url
    _settings.on_status = _on_url
    _settings.on_header_field = _on_field
    _settings.on_header_value = _on_value
    _settings.on_headers_complete = _on_complete
    memcpy(&_request_settings, &_settings, sizeof(_settings))
    _request_settings.on_header_field = _on_request_field
    memset(&_request_engine, 0, sizeof(_request_engine))
    memset(&_response_engine, 0, sizeof(_response_engine))
    # Any HTTP/x.y is let through here and judged by us: 1.2 is read as 1.1 (RFC 9110 section 2.5), another major version is 505.
    parser_init(&_request_engine, HTTP_REQUEST, &_request_settings)
    parser_any_version(&_request_engine)
    parser_execute(&_request_engine, b"GET ", 4)
    parser_init(&_connect_engine, HTTP_REQUEST, &_request_settings)
    parser_any_version(&_connect_engine)
    parser_execute(&_connect_engine, b"CONNECT ", 8)
    parser_init(&_response_engine, HTTP_RESPONSE, &_settings)
    parser_any_version(&_response_engine)


_prepare()


cdef void head_start(HeadParser* parser, Head* head, uint32_t max_fields) noexcept nogil:
    parser.head = head
    parser.fed = 0
    parser.line_end = 0
    parser.max_fields = max_fields if max_fields < MAX_FIELDS else MAX_FIELDS
    parser.method.off = 0
    parser.method.len = 0
    parser.target.off = 0
    parser.target.len = 0
    parser.primed = 0
    parser.full = 0
    head.n_fields = 0


cdef int _fail(Message* out, uint8_t fault) noexcept nogil:
    out.fault = fault
    return H1_BAD


cdef int _read_method(HeadParser* parser, const char* base, uint32_t start, uint32_t end, Message* out) noexcept nogil:
    cdef uint32_t at = parser.fed if parser.fed > start else start
    if parser.method.len == 0:
        while at < end and base[at] == c"\r":
            if at + 1 == end:
                parser.fed = at
                return H1_MORE
            if base[at + 1] != c"\n" or at - start > LEADING_LINES:
                return _fail(out, FAULT_SYNTAX)
            at += 2
        parser.method.off = at
    while at < end and TOKEN[<uint8_t>base[at]]:
        at += 1
    parser.method.len = at - parser.method.off
    parser.fed = at
    if parser.method.len > METHOD_MAX:
        return _fail(out, FAULT_SYNTAX)
    if at == end:
        return H1_MORE
    if base[at] != c" " or parser.method.len == 0:
        return _fail(out, FAULT_SYNTAX)
    parser.fed = at + 1
    if parser.method.len == 7 and memcmp(base + parser.method.off, b"CONNECT", 7) == 0:
        memcpy(&parser.engine, &_connect_engine, sizeof(Parser))
    else:
        memcpy(&parser.engine, &_request_engine, sizeof(Parser))
    parser.primed = 1
    return H1_DONE


cdef bint _version_follows(HeadParser* parser, const char* base, uint32_t end) noexcept nogil:
    """Behind the target stands " HTTP/", as far as it has been read: the engine would also take further spaces, RTSP, or nothing (HTTP/0.9)."""
    cdef uint32_t at = parser.target.off + parser.target.len
    cdef uint32_t n
    if parser.target.len == 0:
        return parser.fed >= end or base[parser.fed] != c" "
    if parser.target.off != parser.method.off + parser.method.len + 1:
        return False
    n = end - at if end - at < 6 else 6
    return memcmp(base + at, b" HTTP/", n) == 0


cdef int request_feed(HeadParser* parser, const char* base, uint32_t start, uint32_t end, uint32_t max_head, uint32_t max_line, Message* out) noexcept nogil:
    cdef int code
    parser.head.base = base
    if not parser.primed:
        code = _read_method(parser, base, start, end, out)
        if code != H1_DONE:
            return code
    if parser.fed < end:
        if base[parser.fed] == c"*" and parser.target.len == 0 and parser.fed == parser.method.off + parser.method.len + 1:
            return _star(parser, base, start, end, max_head, out)
        if parser.target.len == 1 and parser.fed == parser.target.off + 1 and base[parser.target.off] == c"*" and base[parser.fed] != c" ":
            return _fail(out, FAULT_TARGET)
        parser.end = base + end
        parser.passed = NULL
        code = parser_execute(&parser.engine, base + parser.fed, end - parser.fed)
        while parser.passed != NULL:
            code = _pass_over(parser)
    else:
        code = HPE_OK
    if parser.target.off + parser.target.len - start > max_line and parser.target.len:
        return _fail(out, FAULT_LINE_SIZE)
    if not _version_follows(parser, base, end):
        return _fail(out, FAULT_SYNTAX)
    if code == HPE_PAUSED:
        out.head_len = <uint32_t>(parser_stopped_at(&parser.engine) - base)
        if out.head_len - start > max_head:
            return _fail(out, FAULT_HEAD_SIZE)
        return _request_facts(parser, out)
    if code == HPE_OK:
        parser.fed = end
        return H1_MORE if end - start <= max_head else _fail(out, FAULT_HEAD_SIZE)
    if parser.full:
        return _fail(out, FAULT_FIELD_COUNT)
    return _fail(out, FAULT_SYNTAX)


cdef int _pass_over(HeadParser* parser) noexcept nogil:
    cdef const char* at = parser.passed
    parser.passed = NULL
    parser_go_on(&parser.engine)
    return parser_execute(&parser.engine, at, parser.end - at)


cdef int _star(HeadParser* parser, const char* base, uint32_t start, uint32_t end, uint32_t max_head, Message* out) noexcept nogil:
    """`*`, which the engine takes after OPTIONS only under some methods: it is shown "/" and the span is ours."""
    cdef uint32_t at = parser.fed
    parser_execute(&parser.engine, b"/", 1)
    parser.target.off = at
    parser.target.len = 1
    parser.fed = at + 1
    return request_feed(parser, base, start, end, max_head, max_head, out)


cdef bint _digits(const char* text, uint32_t n, uint64_t* out) noexcept nogil:
    cdef uint64_t value = 0
    cdef uint32_t i
    if n == 0 or n > 18:
        return False
    for i in range(n):
        if not c"0" <= text[i] <= c"9":
            return False
        value = value * 10 + <uint64_t>(text[i] - c"0")
    out[0] = value
    return True


cdef void _trim(const Head* head, Field* field) noexcept nogil:
    """The engine leaves trailing white space in values."""
    while field.value_len and _ows(head.base[field.value + field.value_len - 1]):
        field.value_len -= 1
    while field.value_len and _ows(head.base[field.value]):
        field.value += 1
        field.value_len -= 1


cdef bint _next_member(const char* text, uint32_t n, uint32_t* at, uint32_t* start, uint32_t* end) noexcept nogil:
    """The next element of a comma-separated list (RFC 9110 section 5.6.1), empty ones skipped."""
    while at[0] < n and (text[at[0]] == c"," or _ows(text[at[0]])):
        at[0] += 1
    if at[0] >= n:
        return False
    start[0] = at[0]
    while at[0] < n and text[at[0]] != c",":
        at[0] += 1
    end[0] = at[0]
    while end[0] > start[0] and _ows(text[end[0] - 1]):
        end[0] -= 1
    return True


cdef void _nominate(Head* head, const char* name, uint32_t n) noexcept nogil:
    """Drop the fields that Connection names, but nothing that frames or routes the message: those are not the sender's to remove."""
    cdef uint32_t i
    cdef Field* field
    for i in range(head.n_fields):
        field = &head.fields[i]
        if field.name_len == n and field.id not in (H_HOST, H_CONTENT_LENGTH, H_TRANSFER_ENCODING, H_DATE) and same_name(head.base + field.name, name, n):
            field.flags |= FIELD_DROP


cdef void _connection(Head* head, const Field* field, Message* out) noexcept nogil:
    cdef const char* text = head.base + field.value
    cdef uint32_t at = 0, start = 0, end = 0, n
    if field.value_len == 10 and same_token(text, b"keep-alive", 10):
        out.flags |= MSG_KEEP_ALIVE         # what most origins say, without taking it for a list
        return
    while _next_member(text, field.value_len, &at, &start, &end):
        n = end - start
        if n == 5 and same_token(text + start, b"close", 5):
            out.flags |= MSG_CLOSE
        elif n == 10 and same_token(text + start, b"keep-alive", 10):
            out.flags |= MSG_KEEP_ALIVE
        elif n == 7 and same_token(text + start, b"upgrade", 7):
            out.flags |= MSG_UPGRADE
        else:
            out.flags |= MSG_NOMINATED
            _nominate(head, text + start, n)


cdef uint8_t _coding(const Head* head, const Field* field, uint32_t* chunked, uint32_t* others) noexcept nogil:
    cdef const char* text = head.base + field.value
    cdef uint32_t at = 0, start = 0, end = 0, i
    while _next_member(text, field.value_len, &at, &start, &end):
        if chunked[0]:
            return FAULT_CODING             # chunked must be the last coding, and once
        if end - start == 7 and same_token(text + start, b"chunked", 7):
            chunked[0] += 1
            continue
        for i in range(start, end):
            if not TOKEN[<uint8_t>text[i]] and text[i] not in b';= "\t':
                return FAULT_CODING
        others[0] += 1
    return FAULT_NONE


cdef uint8_t _facts(HeadParser* parser, Message* out) noexcept nogil:
    """What both kinds of head have in common: connection, length, coding."""
    cdef Head* head = parser.head
    cdef Field* field
    cdef uint32_t i
    cdef uint32_t lengths = 0, codings = 0, chunked = 0, others = 0
    cdef uint8_t fault
    out.flags = 0
    out.fault = FAULT_NONE
    out.framing = BODY_NONE
    out.length = 0
    out.host_field = -1
    out.upgrade_field = -1
    head_classify(head)
    for i in range(head.n_fields):
        field = &head.fields[i]
        _trim(head, field)
        if not H_HOST <= field.id <= H_HTTP2_SETTINGS or field.flags & FIELD_SPELLED:
            continue
        if field.id == H_HOST:
            if out.host_field >= 0:
                return FAULT_HOST
            out.host_field = i
        elif field.id == H_CONTENT_LENGTH:
            if lengths or not _digits(head.base + field.value, field.value_len, &out.length):
                return FAULT_LENGTH
            lengths += 1
        elif field.id == H_TRANSFER_ENCODING:
            fault = _coding(head, field, &chunked, &others)
            if fault:
                return fault
            codings += 1
            field.flags |= FIELD_DROP
        elif field.id == H_CONNECTION:
            _connection(head, field, out)
            field.flags |= FIELD_DROP
        elif field.id in (H_KEEP_ALIVE, H_PROXY_CONNECTION, H_TE, H_HTTP2_SETTINGS):
            field.flags |= FIELD_DROP
        elif field.id == H_UPGRADE:
            out.upgrade_field = i
            field.flags |= FIELD_DROP
    if codings:
        if lengths:
            return FAULT_LENGTH
        if out.minor == 0 or not chunked:
            return FAULT_CODING if chunked or out.minor == 0 or not others else FAULT_CODING_UNKNOWN
        if others:
            return FAULT_CODING_UNKNOWN
        out.framing = BODY_CHUNKED
    elif lengths:
        out.framing = BODY_LENGTH
    return FAULT_NONE


cdef int _request_facts(HeadParser* parser, Message* out) noexcept nogil:
    cdef Head* head = parser.head
    cdef Field* field
    cdef int i
    cdef uint8_t fault
    out.method = parser.method
    out.target = parser.target
    out.minor = parser_minor(&parser.engine)
    out.status = 0
    if parser_major(&parser.engine) != 1:
        return _fail(out, FAULT_VERSION)
    fault = _facts(parser, out)
    if fault:
        return _fail(out, fault)
    if out.framing == BODY_LENGTH and out.length == 0:
        out.framing = BODY_NONE
    if out.minor >= 1 and not out.flags & MSG_CLOSE:
        out.flags |= MSG_KEEP_ALIVE
    elif out.flags & MSG_CLOSE:
        out.flags &= ~MSG_KEEP_ALIVE
    if out.flags & MSG_UPGRADE and (out.upgrade_field < 0 or out.minor == 0):
        out.flags &= ~MSG_UPGRADE
    for i in range(<int>head.n_fields):
        field = &head.fields[i]
        if field.id == H_EXPECT and not field.flags & FIELD_SPELLED:
            if out.minor == 0:
                field.flags |= FIELD_DROP
            elif field.value_len == 12 and same_token(head.base + field.value, b"100-continue", 12):
                out.flags |= MSG_EXPECT
            else:
                return _fail(out, FAULT_EXPECT)
    if out.host_field < 0 and out.minor >= 1:
        return _fail(out, FAULT_HOST_MISSING)
    return H1_DONE


cdef bint _reason_valid(const char* text, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(n):
        if (<uint8_t>text[i] < 32 and text[i] != c"\t") or text[i] == 127:
            return False
    return True


cdef int response_feed(HeadParser* parser, const char* base, uint32_t end, uint32_t max_head, Message* out) noexcept nogil:
    cdef int code
    cdef uint8_t fault
    if not parser.primed:
        memcpy(&parser.engine, &_response_engine, sizeof(Parser))
        parser.primed = 1
    parser.head.base = base
    if memcmp(base, b"HTTP/", end if end < 5 else 5) != 0:
        return _fail(out, FAULT_STATUS)         # the engine would also take RTSP, or line breaks in front
    code = parser_execute(&parser.engine, base + parser.fed, end - parser.fed)
    if code == HPE_OK:
        parser.fed = end
        return H1_MORE if end < max_head else _fail(out, FAULT_HEAD_SIZE)
    if code != HPE_PAUSED:
        return _fail(out, FAULT_FIELD_COUNT if parser.full else FAULT_SYNTAX)
    out.head_len = <uint32_t>(parser_stopped_at(&parser.engine) - base)
    if out.head_len > max_head:
        return _fail(out, FAULT_HEAD_SIZE)
    # "HTTP/1.1 204": 12 bytes that the engine has checked, but for a leading zero of the status.
    out.status = parser_status(&parser.engine)
    out.minor = parser_minor(&parser.engine)
    out.target = parser.target
    if not _reason_valid(base + out.target.off, out.target.len) or parser_major(&parser.engine) != 1 or out.status < 100 or out.status > 599:
        return _fail(out, FAULT_STATUS)
    fault = _facts(parser, out)
    if fault:
        return _fail(out, fault)
    return H1_DONE


cdef void response_framing(Message* message, bint to_head, bint to_connect) noexcept nogil:
    """RFC 9112 section 6.3, and whether the origin's connection outlives the answer (section 9.3)."""
    if message.status < 200 or message.status == 204 or message.status == 304 or to_head or (to_connect and message.status < 300):
        message.framing = BODY_NONE
    elif message.framing == BODY_NONE:
        message.framing = BODY_EOF
    elif message.framing == BODY_LENGTH and message.length == 0:
        message.framing = BODY_NONE
    if message.flags & MSG_CLOSE or message.framing == BODY_EOF or (message.minor == 0 and not message.flags & MSG_KEEP_ALIVE):
        message.flags &= ~MSG_KEEP_ALIVE
    else:
        message.flags |= MSG_KEEP_ALIVE


# Chunked coding (RFC 9112 section 7.1): a state machine that takes any split of the bytes.
#   SIZE -> (extensions) -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE ... ; size 0: SIZE_LF -> TRAILER lines -> end
cdef enum:
    CHUNK_SIZE = 0
    CHUNK_BEFORE_EXT = 1        # white space behind the size or an extension (bad white space of section 7.1.1)
    CHUNK_EXT = 2               # behind ";"
    CHUNK_NAME = 3
    CHUNK_AFTER_NAME = 4
    CHUNK_BEFORE_VALUE = 5      # behind "="
    CHUNK_VALUE = 6
    CHUNK_QUOTED = 7
    CHUNK_ESCAPE = 8
    CHUNK_SIZE_LF = 9
    CHUNK_DATA = 10
    CHUNK_DATA_CR = 11
    CHUNK_DATA_LF = 12
    CHUNK_TRAILER = 13


cdef void body_start(Body* body, uint8_t framing, uint64_t length) noexcept nogil:
    body.framing = framing
    body.left = length if framing == BODY_LENGTH else 0
    body.seen = 0
    body.line = 0
    body.extensions = 0
    body.state = CHUNK_SIZE
    body.fault = FAULT_NONE
    body.done = 1 if framing == BODY_NONE else 0


cdef inline int _hex(char c) noexcept nogil:
    if c"0" <= c <= c"9":
        return c - c"0"
    if c"a" <= (c | 32) <= c"f":
        return (c | 32) - c"a" + 10
    return -1


cdef bint _trailer_byte(Body* body, char c, char* trailers) noexcept nogil:
    """True when the trailer section is whole: an empty line after `line` bytes of fields."""
    trailers[body.line] = c
    body.line += 1
    if body.line == 2 and trailers[0] == c"\r" and trailers[1] == c"\n":
        body.line = 0
        return True
    if body.line >= 4 and c == c"\n" and trailers[body.line - 2] == c"\r" and trailers[body.line - 3] == c"\n" and trailers[body.line - 4] == c"\r":
        body.line -= 2
        return True
    return False


cdef int _bad(Body* body, uint8_t fault) noexcept nogil:
    body.fault = fault
    return H1_BAD


cdef int chunked_feed(Body* body, const char* data, uint32_t n, uint32_t* used, char* out, uint32_t* written, char* trailers) noexcept nogil:
    cdef uint32_t at = 0, take
    cdef uint32_t put = 0
    cdef int digit
    cdef char c
    while at < n:
        if body.state == CHUNK_DATA:
            take = n - at if body.left > n - at else <uint32_t>body.left
            memcpy(out + put, data + at, take)
            put += take
            at += take
            body.left -= take
            body.seen += take
            if body.left == 0:
                body.state = CHUNK_DATA_CR
            continue
        c = data[at]
        at += 1
        if body.state == CHUNK_SIZE:
            digit = _hex(c)
            body.line += 1
            if digit >= 0:
                if body.left >> 55:
                    return _bad(body, FAULT_CHUNK)
                if body.line > 256:
                    return _bad(body, FAULT_CHUNK)
                body.left = body.left * 16 + <uint64_t>digit
            elif body.line == 1:
                return _bad(body, FAULT_CHUNK)
            elif c == c"\r":
                body.state = CHUNK_SIZE_LF
            elif c == c";":
                body.state = CHUNK_EXT
            elif _ows(c):
                body.state = CHUNK_BEFORE_EXT
            else:
                return _bad(body, FAULT_CHUNK)
        elif body.state <= CHUNK_ESCAPE:
            body.line += 1
            body.extensions += 1
            if body.line > CHUNK_LINE_MAX or body.extensions > EXTENSIONS_MAX or not _extension_byte(body, c):
                return _bad(body, FAULT_CHUNK)
        elif body.state == CHUNK_SIZE_LF:
            if c != c"\n":
                return _bad(body, FAULT_CHUNK)
            body.line = 0
            body.state = CHUNK_DATA if body.left else CHUNK_TRAILER
        elif body.state == CHUNK_DATA_CR:
            if c != c"\r":
                return _bad(body, FAULT_CHUNK)
            body.state = CHUNK_DATA_LF
        elif body.state == CHUNK_DATA_LF:
            if c != c"\n":
                return _bad(body, FAULT_CHUNK)
            body.line = 0
            body.state = CHUNK_SIZE
        else:
            if body.line >= TRAILER_MAX - 2:
                return _bad(body, FAULT_TRAILER)
            if (c == c"\n") != (body.line > 0 and trailers[body.line - 1] == c"\r"):
                return _bad(body, FAULT_CHUNK)
            if _trailer_byte(body, c, trailers):
                body.done = 1
                break
    used[0] = at
    written[0] = put
    return H1_DONE if body.done else H1_MORE


cdef bint _extension_byte(Body* body, char c) noexcept nogil:
    """chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ), read for its end only; nothing of it is forwarded."""
    cdef uint8_t state = body.state
    if state == CHUNK_QUOTED or state == CHUNK_ESCAPE:
        if state == CHUNK_ESCAPE:
            body.state = CHUNK_QUOTED
        elif c == c"\\":
            body.state = CHUNK_ESCAPE
        elif c == c'"':
            body.state = CHUNK_BEFORE_EXT
        return c == c"\t" or <uint8_t>c >= 32 and c != 127
    if TOKEN[<uint8_t>c]:
        body.state = CHUNK_NAME if state == CHUNK_EXT or state == CHUNK_NAME else CHUNK_VALUE
        return state != CHUNK_BEFORE_EXT and state != CHUNK_AFTER_NAME
    if _ows(c):
        body.state = CHUNK_AFTER_NAME if state == CHUNK_NAME else CHUNK_BEFORE_EXT if state == CHUNK_VALUE else state
        return True
    if state == CHUNK_BEFORE_VALUE:
        body.state = CHUNK_QUOTED
        return c == c'"'
    if c == c"=":
        body.state = CHUNK_BEFORE_VALUE
        return state == CHUNK_NAME or state == CHUNK_AFTER_NAME
    body.state = CHUNK_EXT if c == c";" else CHUNK_SIZE_LF
    return state != CHUNK_EXT and (c == c";" or c == c"\r")


cdef bint _port_valid(const char* text, uint32_t n) noexcept nogil:
    cdef uint64_t port = 0
    if n == 0:
        return True                     # "host:" is allowed by the grammar (RFC 3986 section 3.2.3)
    return n <= 5 and _digits(text, n, &port) and port <= 65535


cdef bint _address_literal(const char* text, uint32_t n) noexcept nogil:
    """Inside the brackets: an IPv6 address by its alphabet, or IPvFuture (RFC 3986 section 3.2.2)."""
    cdef uint32_t i
    cdef uint32_t colons = 0
    for i in range(n):
        if text[i] == c":":
            colons += 1
        elif _hex(text[i]) < 0 and text[i] != c".":
            return False
    return 2 <= colons <= 8             # eight where `::` stands for one group at an end


cdef bint host_valid(const char* text, uint32_t n, char* lower, uint32_t* lower_len) noexcept nogil:
    cdef uint32_t end, i
    cdef const char* found
    cdef uint8_t c
    if n == 0:
        return False
    if text[0] == c"[":
        found = <const char*>memchr(text, c"]", n)
        if found == NULL or not _address_literal(text + 1, <uint32_t>(found - text) - 1):
            return False
        end = <uint32_t>(found - text) + 1
    else:
        found = <const char*>memchr(text, c":", n)
        end = n if found == NULL else <uint32_t>(found - text)
    if end < n and (text[end] != c":" or not _port_valid(text + end + 1, n - end - 1)):
        return False
    if end == 0:
        return False
    for i in range(end):
        c = <uint8_t>text[i]
        if 65 <= c <= 90:
            c += 32
        elif text[0] != c"[" and not (97 <= c <= 122 or 48 <= c <= 57 or c in b"-._~!$&'()*+;="):      # reg-name, less the comma: two hosts in one field
            return False
        lower[i] = <char>c
    if lower[end - 1] == c".":
        end -= 1
    lower_len[0] = end
    return end > 0
