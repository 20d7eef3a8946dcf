from http import HTTPStatus

from libc.stdint cimport uint32_t
from libc.string cimport memchr, memcpy, memmove, memset, strlen

from gw._fast.forward cimport apply_removals, put_edits, put_template
from gw._fast.out cimport out_init, put, put_number
from gw._fast.path cimport path_reason
from gw._fast.plane cimport X_CLOSE, X_HEAD_REQUEST
from gw._fast.radix cimport router_allow
from gw._fast.headers cimport FIELD_DROP, H_OTHER, MAX_FIELDS, Field, Head, Target
from gw._fast.stream cimport reactor_date

cdef ReasonText _reasons[64]
cdef char _phrases[600][40]


def load_reasons(reasons) -> None:
    """Takes gw.errors.REASONS: objects with name, status, title and error, in the order of the enumeration R_* behind R_NONE."""
    cdef int i = 1
    cdef ReasonText* text
    cdef bytes name, token, document
    if len(reasons) != R_COUNT - 1:
        raise AssertionError(f"gw.errors names {len(reasons)} reasons, the data plane {R_COUNT - 1}")
    memset(_reasons, 0, sizeof(_reasons))
    for reason in reasons:
        text = &_reasons[i]
        name = reason.name.encode()
        token = (reason.error or "").encode()
        document = b'{"type":"urn:gw:%s","title":"%s","status":%d,"reason":"%s","request_id":"' % (name, reason.title.encode(), reason.status, name)
        text.status = reason.status
        text.name_len = len(name)
        text.token_len = len(token)
        text.document_len = len(document)
        memcpy(text.name, <char*>name, len(name))
        memcpy(text.token, <char*>token, len(token))
        memcpy(text.document, <char*>document, len(document))
        i += 1
    _check_order([reason.name for reason in reasons])


def _check_order(names):
    """Spot checks that an inserted reason would break: first, last, and one of each group."""
    for index, name in ((R_BAD_REQUEST, "bad-request"), (R_BODY_TIMEOUT, "body-timeout"), (R_NO_ROUTE, "no-route"), (R_DENIED, "denied"), (R_NO_ENDPOINT, "no-endpoint"),
                        (R_ORIGIN_TIMEOUT, "origin-timeout"), (R_ORIGIN_BODY_MALFORMED, "origin-body-malformed"), (R_HOOK_FAILED, "hook-failed"), (R_INTERNAL, "internal"),
                        (R_CLIENT_IDLE, "client-idle"), (R_NO_CREDENTIAL, "no-credential"), (R_LIMITS_AWAY, "limits-away")):
        if names[index - 1] != name:
            raise AssertionError(f"reason {index} is {names[index - 1]} in gw.errors and {name} in the data plane")


def _load_phrases():
    cdef bytes phrase
    memset(_phrases, 0, sizeof(_phrases))
    for status in HTTPStatus:
        phrase = status.phrase.encode()[:39]
        memcpy(_phrases[int(status)], <char*>phrase, len(phrase))


_load_phrases()


cdef const ReasonText* reason_text(uint8_t reason) noexcept nogil:
    return &_reasons[reason]


cdef uint8_t reason_index(str name):
    cdef int i
    cdef bytes wanted = name.encode()
    for i in range(1, R_COUNT):
        if _reasons[i].name == wanted:
            return i
    return 0


cdef const char* status_phrase(uint16_t status, uint32_t* n) noexcept nogil:
    cdef const char* phrase = <const char*>_phrases[status if status < 600 else 0]
    n[0] = <uint32_t>strlen(phrase)
    return phrase


cdef char* _start(Exchange* x, uint16_t status, Out* out) noexcept nogil:
    """Status line and Date; where the fields begin that edits may change."""
    cdef uint32_t n = 0
    cdef const char* phrase = status_phrase(status, &n)
    put(out, b"HTTP/1.1 ", 9)
    put_number(out, status)
    put(out, b" ", 1)
    put(out, phrase, n)
    put(out, b"\r\nDate: ", 8)
    put(out, reactor_date(&x.lane.reactor), 29)
    put(out, b"\r\n", 2)
    return out.p


cdef void _index(Head* head, char* at, const char* end) noexcept nogil:
    """Our own field lines as a head, so that edits meet them as they meet an origin's."""
    cdef char* colon
    cdef char* line_end
    cdef Field* field
    head.base = at
    head.n_fields = 0
    while at < end and head.n_fields < MAX_FIELDS:
        colon = <char*>memchr(at, c":", end - at)
        line_end = <char*>memchr(colon, c"\n", end - colon)
        field = &head.fields[head.n_fields]
        field.name = <uint32_t>(at - head.base)
        field.name_len = <uint16_t>(colon - at)
        field.value = <uint32_t>(line_end + 1 - head.base)      # where the next line begins
        field.id = H_OTHER
        field.flags = 0
        head.n_fields += 1
        at = line_end + 1


cdef void _edit_lines(Exchange* x, char* fields, Out* out) noexcept nogil:
    cdef Head* head = &x.answer_head
    cdef Field* field
    cdef uint32_t i, n
    if out.full:
        return
    _index(head, fields, out.p)
    apply_removals(head, &x.client_edits)
    i = head.n_fields
    while i:
        i -= 1
        field = &head.fields[i]
        if field.flags & FIELD_DROP:
            n = field.value - field.name
            memmove(fields + field.name, fields + field.value, out.p - (fields + field.value))
            out.p -= n
    head.n_fields = 0
    put_edits(&x.client_edits, out)


cdef void _finish(Exchange* x, char* fields, uint16_t status, const char* body, uint32_t body_len, Out* out) noexcept nogil:
    if x.client_edits.n:
        _edit_lines(x, fields, out)
    if status >= 200 and status != 204:
        put(out, b"Content-Length: ", 16)
        put_number(out, body_len)
        put(out, b"\r\n", 2)
    if x.flags & X_CLOSE:
        put(out, b"Connection: close\r\n", 19)
    elif x.request.minor == 0:
        put(out, b"Connection: keep-alive\r\n", 24)
    put(out, b"\r\n", 2)
    if body_len and not x.flags & X_HEAD_REQUEST and status != 304 and status != 204:
        put(out, body, body_len)
        x.bytes_out = body_len


cdef void _put_id(Exchange* x, Out* out) noexcept nogil:
    if x.snapshot.id_name_len:
        put(out, x.snapshot.id_name, x.snapshot.id_name_len)
        put(out, b": ", 2)
        put(out, x.id, x.id_len)
        put(out, b"\r\n", 2)


cdef void _put_allow(Exchange* x, Out* out) noexcept nogil:
    cdef char methods[512]
    cdef Target target
    cdef int n
    target.method = x.head.base + x.request.method.off
    target.method_len = x.request.method.len
    target.host = x.host
    target.host_len = x.host_len
    target.path = x.path
    target.path_len = x.path_len
    target.query = x.head.base + x.query.off
    target.query_len = x.query.len
    target.head = &x.head
    n = router_allow(x.snapshot.router, &target, methods, sizeof(methods)) if x.path_len else 0
    put(out, b"Allow: ", 7)
    put(out, methods, n if n > 0 else 0)
    put(out, b"\r\n", 2)


cdef inline void _put_own_fields(Exchange* x, Out* out) noexcept nogil:
    if x.own.fields_len:            # without any the pointer is NULL, which memcpy must not see
        put(out, x.own.fields, x.own.fields_len)


cdef void problem_answer(Exchange* x, uint8_t reason, Out* out) noexcept nogil:
    cdef const ReasonText* text = &_reasons[reason]
    cdef char body[640]
    cdef Out document
    cdef char* fields
    out_init(&document, body, sizeof(body))
    put(&document, text.document, text.document_len)
    put(&document, x.id, x.id_len)
    if reason in (R_INVALID_PATH, R_AMBIGUOUS_PATH) and x.path_code < 0:
        put(&document, b'","detail":"', 12)
        put(&document, path_reason(x.path_code), strlen(path_reason(x.path_code)))
    put(&document, b'"}\n', 3)
    fields = _start(x, text.status, out)
    put(out, b"Content-Type: application/problem+json\r\n", 40)
    if text.token_len:
        put(out, b"Proxy-Status: gw; error=", 24)
        put(out, text.token, text.token_len)
        put(out, b"\r\n", 2)
    _put_id(x, out)
    if text.status == 405:
        _put_allow(x, out)
    elif text.status == 503:
        put(out, b"Retry-After: 1\r\n", 16)
    _put_own_fields(x, out)
    _finish(x, fields, text.status, body, <uint32_t>(document.p - document.start), out)


cdef void plain_answer(Exchange* x, Out* out) noexcept nogil:
    cdef char* fields = _start(x, x.own.status, out)
    _put_own_fields(x, out)
    _finish(x, fields, x.own.status, x.own.body, x.own.body_len, out)


cdef void redirect_answer(Exchange* x, Out* out) noexcept nogil:
    cdef char* fields = _start(x, x.plan.status, out)
    put(out, b"Location: ", 10)
    put_template(x, &x.plan.redirect, out)
    put(out, b"\r\n", 2)
    _finish(x, fields, x.plan.status, b"", 0, out)
