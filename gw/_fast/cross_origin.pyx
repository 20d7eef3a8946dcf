cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from gw._fast.answer cimport R_CROSS_ORIGIN, R_OVERLOADED
from gw._fast.forward cimport edit_push, secure_for_client, text_room
from gw._fast.headers cimport TOKEN, Field, head_find, same_token
from gw._fast.out cimport Out, out_init, put
from gw._fast.plane cimport EDIT_ADD, EDIT_REMOVE, EDIT_SET, STEP_ANSWER, STEP_NEXT, Exchange
from gw._fast.step cimport Step, step_refuses

cdef enum:
    ORIGIN_MAX = 320            # bytes of scheme, host and port; a longer one is none of ours

cdef struct Text:               # borrowed from a bytes object of the step
    const char* text
    uint32_t len

cdef struct Allowed:            # one origin. With a wildcard `head` is "https://" and `tail` ".example.com"
    const char* head
    const char* tail
    uint32_t head_len
    uint32_t tail_len
    bint wild

cdef struct Origins:
    Allowed* items              # owned by the OriginSet
    uint32_t n
    bint any


cdef bint _label_bytes(const char* s, uint32_t n) noexcept nogil:
    """What may stand for '*': labels of a host, so that no other scheme, port or user hides in it."""
    cdef uint32_t i
    for i in range(n):
        if not (c"a" <= s[i] <= c"z" or c"0" <= s[i] <= c"9" or s[i] == c"-" or s[i] == c"_" or (s[i] == c"." and i > 0 and s[i - 1] != c".")):
            return False
    return n > 0 and s[n - 1] != c"."


cdef bint _is_allowed(const Allowed* one, const char* s, uint32_t n) noexcept nogil:
    if not one.wild:
        return n == one.head_len and memcmp(s, one.head, n) == 0
    return n > one.head_len + one.tail_len and memcmp(s, one.head, one.head_len) == 0 and memcmp(s + n - one.tail_len, one.tail, one.tail_len) == 0 \
        and _label_bytes(s + one.head_len, n - one.head_len - one.tail_len)


cdef bint _holds(const Origins* origins, const char* s, uint32_t n) noexcept nogil:
    """Browsers write an origin in lower case (RFC 6454 section 6.1): it is compared byte by byte."""
    cdef uint32_t i
    if origins.any:
        return True
    if n > ORIGIN_MAX:
        return False
    for i in range(origins.n):
        if _is_allowed(&origins.items[i], s, n):
            return True
    return False


@cython.final
cdef class OriginSet:
    cdef Origins origins
    cdef list held

    def __init__(self, origins: list) -> None:
        cdef bytes head, tail
        cdef Allowed* one
        self.held = []
        self.origins.any = "*" in origins
        self.origins.items = <Allowed*>calloc(len(origins) + 1, sizeof(Allowed))
        if self.origins.items == NULL:
            raise MemoryError
        for text in origins:
            before, star, behind = text.partition("*")
            head = before.encode()
            tail = behind.encode()
            self.held += [head, tail]
            one = &self.origins.items[self.origins.n]
            one.head = PyBytes_AS_STRING(head)
            one.head_len = len(head)
            one.tail = PyBytes_AS_STRING(tail)
            one.tail_len = len(tail)
            one.wild = bool(star)
            self.origins.n += 1

    def __dealloc__(self):
        free(self.origins.items)

    def holds(self, origin: str) -> bool:
        cdef bytes text = origin.encode()
        return _holds(&self.origins, PyBytes_AS_STRING(text), len(text))


cdef const Field* _only(const Exchange* x, const char* name, uint32_t n) noexcept nogil:
    """The field of this name (in lower case); NULL when there is none, or more than one."""
    cdef int i = head_find(&x.head, name, n, 0)
    if i < 0 or head_find(&x.head, name, n, i + 1) >= 0:
        return NULL
    return &x.head.fields[i]


# CORS

cdef struct Cors:
    const Origins* origins
    Text methods                # value of Access-Control-Allow-Methods; empty: as asked for
    Text headers                # the same of fields
    Text max_age                # a field line, or empty
    Text expose                 # value, or empty
    bint any_method
    bint any_header
    bint credentials
    bint private_network
    bint told_to_anyone         # the answer does not depend on Origin


cdef bint _is_options(const Exchange* x) noexcept nogil:
    return x.request.method.len == 7 and memcmp(x.head.base + x.request.method.off, b"OPTIONS", 7) == 0


cdef bint _is_preflight(const Exchange* x) noexcept nogil:
    return _is_options(x) and head_find(&x.head, b"access-control-request-method", 29, 0) >= 0 and head_find(&x.head, b"origin", 6, 0) >= 0


cdef bint _allows(const Cors* cors, const Exchange* x, const Field** origin) noexcept nogil:
    """Whether the request names exactly one origin, and one of ours."""
    origin[0] = _only(x, b"origin", 6)
    return origin[0] != NULL and origin[0].value_len > 0 and _holds(cors.origins, x.head.base + origin[0].value, origin[0].value_len)


cdef bint _is_list(const char* s, uint32_t n) noexcept nogil:
    """Tokens with commas: what may be said back of a list that was asked for."""
    cdef uint32_t i
    for i in range(n):
        if not TOKEN[<unsigned char>s[i]] and s[i] != c"," and s[i] != c" ":
            return False
    return True


cdef void _put_asked(const Exchange* x, const char* field, uint32_t field_n, const char* asked, uint32_t asked_n, bint any, const Text* value, Out* out) noexcept nogil:
    cdef int i
    cdef const Field* said
    if any:
        i = head_find(&x.head, asked, asked_n, 0)
        if i < 0:
            return
        said = &x.head.fields[i]
        if said.value_len == 0 or not _is_list(x.head.base + said.value, said.value_len):
            return
        put(out, field, field_n)
        put(out, x.head.base + said.value, said.value_len)
    elif value.len:
        put(out, field, field_n)
        put(out, value.text, value.len)
    else:
        return
    put(out, b"\r\n", 2)


cdef void _put_preflight(const Cors* cors, const Exchange* x, Out* out) noexcept nogil:
    _put_asked(x, b"Access-Control-Allow-Methods: ", 30, b"access-control-request-method", 29, cors.any_method, &cors.methods, out)
    _put_asked(x, b"Access-Control-Allow-Headers: ", 30, b"access-control-request-headers", 30, cors.any_header, &cors.headers, out)
    if cors.private_network and head_find(&x.head, b"access-control-request-private-network", 38, 0) >= 0:
        put(out, b"Access-Control-Allow-Private-Network: true\r\n", 44)
    put(out, cors.max_age.text, cors.max_age.len)


cdef int _preflight(void* self, Exchange* x) noexcept nogil:
    cdef const Cors* cors = <const Cors*>self
    cdef const Field* origin
    cdef char* kept
    cdef Out out
    cdef uint32_t n
    if not _is_preflight(x):
        return STEP_NEXT
    if not _allows(cors, x, &origin):
        return step_refuses(x, R_CROSS_ORIGIN, NULL, 0)
    out_init(&out, x.lane.reactor.tx, 65536)
    _put_preflight(cors, x, &out)
    n = <uint32_t>(out.p - out.start)
    kept = text_room(x, n)
    if kept == NULL:
        return step_refuses(x, R_OVERLOADED, NULL, 0)
    memcpy(kept, out.start, n)
    x.own.status = 204
    x.own.fields = kept
    x.own.fields_len = n
    return STEP_ANSWER


cdef void _set(Exchange* x, const char* name, uint32_t n, const char* value, uint32_t value_n) noexcept nogil:
    edit_push(&x.client_edits, EDIT_SET if value_n else EDIT_REMOVE, name, n, value, value_n)


cdef int _tell(void* self, Exchange* x) noexcept nogil:
    """What the service says of CORS by itself goes: two policies in one answer are none (WHATWG Fetch section 3.3.4)."""
    cdef const Cors* cors = <const Cors*>self
    cdef const Field* origin
    cdef bint allowed = _allows(cors, x, &origin)
    cdef bint preflight = _is_preflight(x)
    if not allowed:
        _set(x, b"Access-Control-Allow-Origin", 27, NULL, 0)
    elif cors.told_to_anyone:
        _set(x, b"Access-Control-Allow-Origin", 27, b"*", 1)
    else:
        _set(x, b"Access-Control-Allow-Origin", 27, x.head.base + origin.value, origin.value_len)
    _set(x, b"Access-Control-Allow-Credentials", 32, b"true", 4 if allowed and cors.credentials else 0)
    _set(x, b"Access-Control-Expose-Headers", 29, cors.expose.text, cors.expose.len if allowed and not preflight else 0)
    if preflight:
        edit_push(&x.client_edits, EDIT_ADD, b"Vary", 4, b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers", 69)
    elif not cors.told_to_anyone:
        edit_push(&x.client_edits, EDIT_ADD, b"Vary", 4, b"Origin", 6)
    return STEP_NEXT


@cython.final
cdef class CorsStep(Step):
    cdef Cors cors
    cdef OriginSet origins
    cdef list held

    def __init__(self, origins: OriginSet, methods: list, headers: list, expose: list, max_age: int, credentials: bool, private_network: bool) -> None:
        Step.__init__(self, "cors")
        self.held = []
        self.origins = origins
        self.cors.origins = &origins.origins
        self.cors.any_method = methods == ["*"]
        self.cors.any_header = headers == ["*"]
        self._keep(&self.cors.methods, ", ".join(methods))
        self._keep(&self.cors.headers, ", ".join(headers))
        self._keep(&self.cors.expose, ", ".join(expose))
        self._keep(&self.cors.max_age, f"Access-Control-Max-Age: {max_age}\r\n" if max_age >= 0 else "")
        self.cors.credentials = credentials
        self.cors.private_network = private_network
        self.cors.told_to_anyone = origins.origins.any
        self.request.run = _preflight
        self.response.run = _tell
        self.request.self = self.response.self = &self.cors

    cdef _keep(self, Text* into, str text):
        cdef bytes raw = text.encode()
        self.held.append(raw)
        into.text = PyBytes_AS_STRING(raw)
        into.len = len(raw)

    cdef str told(self, Exchange* x, int verdict):
        cdef const Field* origin
        cdef bint allowed = _allows(&self.cors, x, &origin)
        if origin == NULL:
            return "no origin, or several" if head_find(&x.head, b"origin", 6, 0) >= 0 else "no origin"
        return f"{'preflight from' if _is_preflight(x) else 'from'} {'an allowed' if allowed else 'another'} origin"


# Forged requests

cdef struct Csrf:
    const Origins* origins
    bint missing


cdef bint _is_safe(const Exchange* x) noexcept nogil:
    """RFC 9110 section 9.2.1."""
    cdef const char* method = x.head.base + x.request.method.off
    cdef uint32_t n = x.request.method.len
    return (n == 3 and memcmp(method, b"GET", 3) == 0) or (n == 4 and memcmp(method, b"HEAD", 4) == 0) or _is_options(x)


cdef uint32_t _origin_part(const char* s, uint32_t n) noexcept nogil:
    """Bytes of scheme, host and port of a URL."""
    cdef uint32_t i = 0
    while i + 2 < n and not (s[i] == c":" and s[i + 1] == c"/" and s[i + 2] == c"/"):
        i += 1
    i += 3
    while i < n and s[i] != c"/" and s[i] != c"?" and s[i] != c"#":
        i += 1
    return i if i <= n else n


cdef bint _is_own(const Exchange* x, const char* s, uint32_t n) noexcept nogil:
    """The origin that the request was sent to: scheme, host and port as the client sees them."""
    cdef bint secure = secure_for_client(x)
    cdef uint32_t at = 8 if secure else 7
    cdef uint32_t end = n
    cdef const char* port = x.head.base + x.port.off
    cdef uint32_t port_n = x.port.len
    if n <= at or not same_token(s, b"https://" if secure else b"http://", at):
        return False
    if (port_n == 4 and secure and memcmp(port, b":443", 4) == 0) or (port_n == 3 and not secure and memcmp(port, b":80", 3) == 0):
        port_n = 0
    end -= port_n
    return n >= at + port_n and x.host_len > 0 and end - at == x.host_len and same_token(s + at, x.host, x.host_len) and memcmp(s + end, port, port_n) == 0


cdef bint _comes_from_friend(const Csrf* csrf, const Exchange* x, const Field* field, bint url) noexcept nogil:
    cdef const char* s = x.head.base + field.value
    cdef uint32_t n = _origin_part(s, field.value_len) if url else field.value_len
    return _is_own(x, s, n) or _holds(csrf.origins, s, n)


cdef bint _said(const Exchange* x, const Field* field, const char* word, uint32_t n) noexcept nogil:
    return field.value_len == n and memcmp(x.head.base + field.value, word, n) == 0


cdef bint _passes(const Csrf* csrf, const Exchange* x) noexcept nogil:
    """A browser's own word first (Fetch Metadata), then Origin, then Referer. What is said twice counts as said wrongly."""
    cdef bint has_origin = head_find(&x.head, b"origin", 6, 0) >= 0
    cdef const Field* origin = _only(x, b"origin", 6)
    cdef const Field* site = _only(x, b"sec-fetch-site", 14)
    cdef const Field* referer = _only(x, b"referer", 7)
    if head_find(&x.head, b"sec-fetch-site", 14, 0) >= 0:
        if site != NULL and (_said(x, site, b"same-origin", 11) or _said(x, site, b"none", 4)):
            return True
        return origin != NULL and _holds(csrf.origins, x.head.base + origin.value, origin.value_len)
    if has_origin:
        return origin != NULL and _comes_from_friend(csrf, x, origin, False)
    if head_find(&x.head, b"referer", 7, 0) >= 0:
        return referer != NULL and _comes_from_friend(csrf, x, referer, True)
    return csrf.missing


cdef int _check(void* self, Exchange* x) noexcept nogil:
    if _is_safe(x) or _passes(<const Csrf*>self, x):
        return STEP_NEXT
    return step_refuses(x, R_CROSS_ORIGIN, NULL, 0)


@cython.final
cdef class CsrfStep(Step):
    cdef Csrf csrf
    cdef OriginSet origins

    def __init__(self, origins: OriginSet, missing: bool) -> None:
        Step.__init__(self, "csrf")
        self.origins = origins
        self.csrf.origins = &origins.origins
        self.csrf.missing = missing
        self.request.run = _check
        self.request.self = &self.csrf

    cdef str told(self, Exchange* x, int verdict):
        if _is_safe(x):
            return "a safe method"
        return "another origin" if verdict else "its own origin, an allowed one, or no browser"
