from http import HTTPStatus

from libc.string cimport memcpy, memset, strlen

from gw._fast.forward cimport put_template
from gw._fast.out cimport out_init, put, put_number
from gw._fast.path cimport path_reason
from gw._fast.plane cimport X_CLOSE, X_HEAD_REQUEST, Edits, EDIT_REMOVE
from gw._fast.radix cimport router_allow
from gw._fast.headers cimport Target
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
                        (R_CLIENT_IDLE, "client-idle"), (R_NO_CREDENTIAL, "no-credential"), (R_DECISION_UNAVAILABLE, "decision-unavailable")):
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


cdef void _start(Exchange* x, uint16_t status, Out* out) noexcept nogil:
    cdef uint32_t n = 0
    cdef const char* phrase = status_phrase(status, &n)
    put(out, b"HTTP/1.1 ", 9)
    put_number(out, status)
    put(out, b" ", 1)
    put(out, phrase, n)
    put(out, b"\r\nDate: ", 8)
    put(out, reactor_date(&x.lane.reactor), 29)
    put(out, b"\r\n", 2)


cdef void _finish(Exchange* x, uint16_t status, const char* body, uint32_t body_len, Out* out) noexcept nogil:
    _put_added(&x.client_edits, out)
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


cdef void _put_added(const Edits* edits, Out* out) noexcept nogil:
    cdef uint32_t i
    for i in range(edits.n):
        if edits.items[i].op != EDIT_REMOVE:
            put(out, edits.items[i].name, edits.items[i].name_len)
            put(out, b": ", 2)
            put(out, edits.items[i].value, edits.items[i].value_len)
            put(out, b"\r\n", 2)


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
    out_init(&document, body, sizeof(body))
    put(&document, text.document, text.document_len)
    put(&document, x.id, x.id_len)
    if reason in (R_INVALID_PATH, R_AMBIGUOUS_PATH) and x.path_code < 0:
        put(&document, b'","detail":"', 12)
        put(&document, path_reason(x.path_code), strlen(path_reason(x.path_code)))
    put(&document, b'"}\n', 3)
    _start(x, text.status, out)
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
    _finish(x, text.status, body, <uint32_t>(document.p - document.start), out)


cdef void plain_answer(Exchange* x, Out* out) noexcept nogil:
    _start(x, x.own.status, out)
    _put_own_fields(x, out)
    _finish(x, x.own.status, x.own.body, x.own.body_len, out)


cdef void redirect_answer(Exchange* x, Out* out) noexcept nogil:
    _start(x, x.plan.status, out)
    put(out, b"Location: ", 10)
    put_template(x, &x.plan.redirect, out)
    put(out, b"\r\n", 2)
    _finish(x, x.plan.status, b"", 0, out)
