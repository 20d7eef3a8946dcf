cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from gw._fast.answer cimport R_OVERLOADED
from gw._fast.fields cimport FieldWalk, fields_named, fields_next
from gw._fast.forward cimport client_address, edit_push, secure_for_client, text_room
from gw._fast.out cimport Out, out_init, put
from gw._fast.plane cimport EDIT_ADD, EDIT_REMOVE, EDIT_SET, STEP_NEXT, Edits, Exchange
from gw._fast.predicate cimport hex_digit, next_octet, query_name_is
from gw._fast.step cimport Step, step_refuses
from gw._fast.step import OPS

cdef enum:                      # Part.kind
    TEXT = 0
    PARAM
    HEADER                      # those from here to CLAIM take a name
    QUERY
    CLAIM
    CONSUMER
    CLIENT
    ID
    HOST
    METHOD
    PATH
    SCHEME
    ROUTE
    SERVICE

cdef enum:
    RENAME = 100                # beside EDIT_*: `value` is the new name
    VALUE_MAX = 16384           # bytes of one value; a longer one is not sent

_NUMBERS = {"text": TEXT, "param": PARAM, "header": HEADER, "query": QUERY, "claim": CLAIM, "consumer": CONSUMER, "client": CLIENT, "id": ID, "host": HOST, "method": METHOD,
            "path": PATH, "scheme": SCHEME, "route": ROUTE, "service": SERVICE}
KINDS = {kind: HEADER <= number <= CLAIM for kind, number in _NUMBERS.items() if number > PARAM}


cdef struct Part:               # text is borrowed from the step's `held`
    const char* text            # of TEXT; the name of HEADER, QUERY, CLAIM
    uint32_t len
    uint16_t param              # index into Match.params
    uint8_t kind


cdef struct Change:
    const char* name
    const char* value           # RENAME: the new name
    Part* parts                 # owned by the step
    uint32_t name_len
    uint32_t value_len
    uint32_t n_parts
    uint8_t op


cdef struct Changes:
    Change* items               # owned by the step
    uint32_t n


# Members of a JSON object. The text was parsed by who put it there; every index is bounded all the same.

cdef uint32_t _string_end(const char* s, uint32_t n, uint32_t at) noexcept nogil:
    """Index of the quote that ends a string; `at` is behind the one that begins it."""
    while at < n and s[at] != c'"':
        at += 2 if s[at] == c"\\" else 1
    return at if at < n else n


cdef uint32_t _blank(const char* s, uint32_t n, uint32_t at) noexcept nogil:
    while at < n and (s[at] == c" " or s[at] == c"\n" or s[at] == c"\r" or s[at] == c"\t"):
        at += 1
    return at


cdef uint32_t _value_end(const char* s, uint32_t n, uint32_t at) noexcept nogil:
    """Index of the comma or bracket behind a value."""
    cdef uint32_t depth = 0
    while at < n:
        if s[at] == c'"':
            at = _string_end(s, n, at + 1)
        elif s[at] == c"{" or s[at] == c"[":
            depth += 1
        elif s[at] == c"}" or s[at] == c"]":
            if depth == 0:
                return at
            depth -= 1
        elif s[at] == c"," and depth == 0:
            return at
        at += 1
    return n


cdef void _put_character(uint32_t code, Out* out) noexcept nogil:
    """As UTF-8 (RFC 3629 section 3)."""
    cdef char text[4]
    if code < 0x80:
        text[0] = <char>code
        put(out, text, 1)
    elif code < 0x800:
        text[0] = <char>(0xC0 | code >> 6)
        text[1] = <char>(0x80 | (code & 63))
        put(out, text, 2)
    elif code < 0x10000:
        text[0] = <char>(0xE0 | code >> 12)
        text[1] = <char>(0x80 | (code >> 6 & 63))
        text[2] = <char>(0x80 | (code & 63))
        put(out, text, 3)
    else:
        text[0] = <char>(0xF0 | code >> 18)
        text[1] = <char>(0x80 | (code >> 12 & 63))
        text[2] = <char>(0x80 | (code >> 6 & 63))
        text[3] = <char>(0x80 | (code & 63))
        put(out, text, 4)


cdef uint32_t _four_digits(const char* s, uint32_t n, uint32_t at) noexcept nogil:
    cdef uint32_t code = 0, i
    for i in range(at, at + 4):
        if i >= n or hex_digit(s[i]) < 0:
            return 0
        code = code << 4 | <uint32_t>hex_digit(s[i])
    return code


cdef char _escaped(char c) noexcept nogil:
    """What a backslash and this letter stand for (RFC 8259 section 7)."""
    return 8 if c == c"b" else 12 if c == c"f" else 10 if c == c"n" else 13 if c == c"r" else 9 if c == c"t" else c


cdef void _put_string(const char* s, uint32_t at, uint32_t end, Out* out) noexcept nogil:
    cdef uint32_t code, low
    cdef char plain
    while at < end:
        if s[at] != c"\\" or at + 1 >= end:
            put(out, s + at, 1)
            at += 1
        elif s[at + 1] != c"u":
            plain = _escaped(s[at + 1])
            put(out, &plain, 1)
            at += 2
        else:
            code = _four_digits(s, end, at + 2)
            at += 6
            if 0xD800 <= code < 0xDC00 and at + 1 < end and s[at] == c"\\" and s[at + 1] == c"u":
                low = _four_digits(s, end, at + 2)
                if 0xDC00 <= low < 0xE000:
                    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
                    at += 6
            _put_character(code, out)


cdef void _put_scalar(const char* s, uint32_t at, uint32_t end, Out* out) noexcept nogil:
    while end > at and (s[end - 1] == c" " or s[end - 1] == c"\n" or s[end - 1] == c"\r" or s[end - 1] == c"\t"):
        end -= 1
    if at == end or s[at] == c"{" or s[at] == c"[" or s[at] == c"n":
        return
    if s[at] == c'"':
        _put_string(s, at + 1, end - 1, out)
    else:
        put(out, s + at, end - at)


cdef void _put_list(const char* s, uint32_t at, uint32_t n, Out* out) noexcept nogil:
    cdef const char* start = out.p
    cdef const char* before
    cdef uint32_t end
    while at < n:
        at = _blank(s, n, at)
        end = _value_end(s, n, at)
        before = out.p
        if before != start:
            put(out, b",", 1)
        _put_scalar(s, at, end, out)
        if before != start and out.p == before + 1:
            out.p -= 1                  # nothing that can be sent: no comma for it
        if end >= n or s[end] == c"]":
            return
        at = end + 1


cdef void _put_member(const char* s, uint32_t n, const char* name, uint32_t name_n, Out* out) noexcept nogil:
    cdef uint32_t at = _blank(s, n, 0) + 1
    cdef uint32_t end, found = 0, found_end = 0
    cdef bint ours
    while True:
        at = _blank(s, n, at)
        if at >= n or s[at] != c'"':
            break
        end = _string_end(s, n, at + 1)
        ours = end - at - 1 == name_n and memcmp(s + at + 1, name, name_n) == 0
        at = _blank(s, n, end + 1)
        if at >= n:
            break
        at = _blank(s, n, at + 1)       # behind the colon
        end = _value_end(s, n, at)
        if ours:
            found = at
            found_end = end
        at = end + 1
    if found_end > found and s[found] == c"[":
        _put_list(s, found + 1, found_end, out)
    elif found_end > found:
        _put_scalar(s, found, found_end, out)


def member(document: bytes, name: str) -> bytes:
    cdef char room[VALUE_MAX]
    cdef bytes key = name.encode()
    cdef Out out
    out_init(&out, room, sizeof(room))
    _put_member(PyBytes_AS_STRING(document), <uint32_t>len(document), PyBytes_AS_STRING(key), <uint32_t>len(key), &out)
    return PyBytes_FromStringAndSize(out.start, out.p - out.start)


# Values

cdef void _put_header(Exchange* x, const Part* part, Out* out) noexcept nogil:
    """All lines of a field are one value (RFC 9110 section 5.3)."""
    cdef FieldWalk walk
    cdef bint first = True
    fields_named(&walk, x, False, part.text, part.len)
    while fields_next(&walk):
        if not first:
            put(out, b", ", 2)
        put(out, walk.value, walk.value_len)
        first = False


cdef void _put_query(const Exchange* x, const Part* part, Out* out) noexcept nogil:
    """The first parameter of the name, decoded."""
    cdef const char* query = x.head.base + x.query.off
    cdef uint32_t at = 0, end, equals
    cdef char c
    while at < x.query.len:
        end = at
        equals = x.query.len
        while end < x.query.len and query[end] != c"&":
            if query[end] == c"=" and equals == x.query.len:
                equals = end
            end += 1
        if equals > end:
            equals = end
        if query_name_is(query + at, equals - at, part.text, part.len):
            at = equals + 1
            while at < end:
                c = c" " if query[at] == c"+" else query[at]
                if c == c"%":
                    c = next_octet(query, end, &at)
                else:
                    at += 1
                put(out, &c, 1)
            return
        at = end + 1


cdef void _put_part(Exchange* x, const Part* part, Out* out) noexcept nogil:
    cdef const char* address
    cdef uint32_t n = 0
    if part.kind == TEXT:
        put(out, part.text, part.len)
    elif part.kind == PARAM:
        put(out, x.path + x.match.params[part.param].off, x.match.params[part.param].len)
    elif part.kind == HEADER:
        _put_header(x, part, out)
    elif part.kind == QUERY:
        _put_query(x, part, out)
    elif part.kind == CLAIM:
        if x.identity.claims != NULL:
            _put_member(x.identity.claims, x.identity.claims_len, part.text, part.len, out)
    elif part.kind == CONSUMER:
        if x.identity.consumer != NULL:
            put(out, x.identity.consumer.name, x.identity.consumer.name_len)
    elif part.kind == CLIENT:
        address = client_address(x, &n)
        put(out, address, n)
    elif part.kind == SCHEME:
        put(out, b"https" if secure_for_client(x) else b"http", 5 if secure_for_client(x) else 4)
    else:
        _put_simple(x, part.kind, out)


cdef void _put_simple(Exchange* x, uint8_t kind, Out* out) noexcept nogil:
    if kind == ID:
        put(out, x.id, x.id_len)
    elif kind == HOST:
        put(out, x.host, x.host_len)
    elif kind == METHOD:
        put(out, x.head.base + x.request.method.off, x.request.method.len)
    elif kind == PATH:
        put(out, x.path, x.path_len)
    elif kind == ROUTE:
        put(out, x.plan.name, x.plan.name_len)
    elif x.plan.service != NULL:
        put(out, x.plan.service.name, x.plan.service.name_len)


cdef bint _sendable(Out* out) noexcept nogil:
    """No control byte, and not empty once white space at the ends, which is no part of a value (RFC 9110 section 5.5), is cut off."""
    cdef const char* at = out.start
    while out.start < out.p and (out.start[0] == c" " or out.start[0] == c"\t"):
        out.start += 1
    while out.p > out.start and ((out.p - 1)[0] == c" " or (out.p - 1)[0] == c"\t"):
        out.p -= 1
    at = out.start
    while at < out.p:
        if (<uint8_t>at[0] < 32 and at[0] != c"\t") or at[0] == 127:
            return False
        at += 1
    return out.p > out.start and not out.full


# Edits

cdef bint _rename(const Change* change, Exchange* x, bint answer, Edits* edits) noexcept nogil:
    cdef FieldWalk walk
    cdef bint pushed = True
    fields_named(&walk, x, answer, change.name, change.name_len)
    while fields_next(&walk):
        pushed &= edit_push(edits, EDIT_ADD, change.value, change.value_len, walk.value, walk.value_len)
    return pushed and (not walk.found or edit_push(edits, EDIT_REMOVE, change.name, change.name_len, b"", 0))


cdef bint _composed(const Change* change, Exchange* x, Edits* edits) noexcept nogil:
    cdef Out out
    cdef char* kept
    cdef uint32_t i, n
    out_init(&out, x.lane.reactor.tx, VALUE_MAX)
    for i in range(change.n_parts):
        _put_part(x, &change.parts[i], &out)
    if not _sendable(&out):
        return change.op != EDIT_SET or edit_push(edits, EDIT_REMOVE, change.name, change.name_len, b"", 0)
    n = <uint32_t>(out.p - out.start)
    kept = text_room(x, n)
    if kept == NULL:
        return False
    memcpy(kept, out.start, n)
    return edit_push(edits, change.op, change.name, change.name_len, kept, n)


cdef int _change(const Changes* changes, Exchange* x, bint answer, Edits* edits) noexcept nogil:
    cdef uint32_t i
    cdef const Change* change
    cdef bint done
    for i in range(changes.n):
        change = &changes.items[i]
        if change.op == RENAME:
            done = _rename(change, x, answer, edits)
        elif change.parts != NULL:
            done = _composed(change, x, edits)
        else:
            done = edit_push(edits, change.op, change.name, change.name_len, change.value, change.value_len)
        if not done:
            return step_refuses(x, R_OVERLOADED, NULL, 0)
    return STEP_NEXT


cdef int _on_request(void* self, Exchange* x) noexcept nogil:
    return _change(<const Changes*>self, x, False, &x.origin_edits)


cdef int _on_response(void* self, Exchange* x) noexcept nogil:
    return _change(<const Changes*>self, x, True, &x.client_edits)


@cython.final
cdef class TemplateStep(Step):
    cdef Changes on_request
    cdef Changes on_response
    cdef list held

    def __init__(self, name: str, request, response) -> None:
        Step.__init__(self, name)
        self.held = []
        self._fill(&self.on_request, list(request))
        self._fill(&self.on_response, list(response))
        if request:
            self.request.run = _on_request
            self.request.self = &self.on_request
        if response:
            self.response.run = _on_response
            self.response.self = &self.on_response

    cdef const char* _hold(self, bytes raw, uint32_t* n):
        self.held.append(raw)
        n[0] = <uint32_t>len(raw)
        return PyBytes_AS_STRING(raw)

    cdef _fill(self, Changes* into, list changes):
        cdef Change* change
        into.items = <Change*>calloc(len(changes) + 1, sizeof(Change))
        if into.items == NULL:
            raise MemoryError
        for op, name, value in changes:
            change = &into.items[into.n]
            change.op = RENAME if op == "rename" else OPS[op]
            change.name = self._hold(name.encode(), &change.name_len)
            if op == "rename":
                change.value = self._hold(value.encode(), &change.value_len)
            elif all(kind == "text" for kind, _ in value):
                change.value = self._hold("".join([text for _, text in value]).encode("latin-1"), &change.value_len)
            else:
                self._fill_parts(change, list(value))
            into.n += 1

    cdef _fill_parts(self, Change* change, list parts):
        cdef Part* part
        change.parts = <Part*>calloc(len(parts), sizeof(Part))
        if change.parts == NULL:
            raise MemoryError
        for kind, value in parts:
            part = &change.parts[change.n_parts]
            part.kind = _NUMBERS[kind]
            if kind == "param":
                part.param = value
            else:
                part.text = self._hold(value.encode("latin-1" if kind == "text" else "utf-8"), &part.len)
            change.n_parts += 1

    def __dealloc__(self):
        _free_changes(&self.on_request)
        _free_changes(&self.on_response)


cdef void _free_changes(Changes* changes) noexcept:
    cdef uint32_t i
    for i in range(changes.n):
        free(changes.items[i].parts)
    free(changes.items)
