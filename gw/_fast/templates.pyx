cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from gw._fast.answer cimport R_OVERLOADED
from gw._fast.claims cimport JSON_ARRAY, JSON_FALSE, JSON_NUMBER, JSON_OBJECT, JSON_STRING, JSON_TRUE, Value, json_element, json_find, text_copy
from gw._fast.fields cimport FieldWalk, fields_named, fields_next
from gw._fast.forward cimport client_address, edit_push, secure_for_client, text_room
from gw._fast.out cimport Out, out_init, put
from gw._fast.plane cimport EDIT_ADD, EDIT_REMOVE, EDIT_SET, STEP_NEXT, Edits, Exchange
from gw._fast.predicate cimport query_decode, query_equals
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


# Claims

cdef bint _put_scalar(const Value* value, Out* out) noexcept nogil:
    """Text with its escapes resolved, numbers and booleans as written. False: nothing that can be sent."""
    if value.type == JSON_STRING:
        if <size_t>(out.end - out.p) < value.n:
            out.full = True
        else:
            out.p += text_copy(value, out.p)
        return True
    if value.type == JSON_NUMBER or value.type == JSON_TRUE or value.type == JSON_FALSE:
        put(out, value.p, value.n)
        return True
    return False


cdef void _put_list(const Value* array, Out* out) noexcept nogil:
    cdef const char* at = array.p + 1
    cdef const char* start = out.p
    cdef char* before
    cdef Value element
    while json_element(&at, &element):
        before = out.p
        if before != start:
            put(out, b",", 1)
        if not _put_scalar(&element, out):
            out.p = before


cdef void _put_claim(const Exchange* x, const Part* part, Out* out) noexcept nogil:
    cdef Value claims, found
    if x.identity.claims == NULL:
        return
    claims.p = x.identity.claims
    claims.n = x.identity.claims_len
    claims.type = JSON_OBJECT
    json_find(&claims, part.text, part.len, &found)
    if found.type == JSON_ARRAY:
        _put_list(&found, out)
    else:
        _put_scalar(&found, out)


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
    while at < x.query.len:
        end = at
        while end < x.query.len and query[end] != c"&":
            end += 1
        equals = at
        while equals < end and query[equals] != c"=":
            equals += 1
        if query_equals(query + at, equals - at, part.text, part.len):
            equals = min(equals + 1, end)
            if <size_t>(out.end - out.p) < end - equals:
                out.full = True
            else:
                out.p += query_decode(query + equals, end - equals, out.p)
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
        _put_claim(x, part, out)
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
