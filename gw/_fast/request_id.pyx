cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy

from gw._fast.answer cimport R_OVERLOADED
from gw._fast.decide cimport make_id
from gw._fast.forward cimport edit_push
from gw._fast.headers cimport Field, head_find, same_name
from gw._fast.plane cimport EDIT_SET, ID_MAX, STEP_NEXT, Exchange
from gw._fast.predicate cimport hex_digit
from gw._fast.regex cimport Program, Regex, regex_match
from gw._fast.step cimport Step, step_refuses

cdef enum:
    HEX = 0
    UUID4
    UUID7
    ULID

FORMS = {"hex": HEX, "uuid4": UUID4, "uuid7": UUID7, "ulid": ULID}

cdef const char* BASE32 = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"

cdef struct Ids:
    const char* name            # owned by the step, as is `lower`
    const char* lower
    const Program* shape        # borrowed from the step's Regex; NULL: any
    uint32_t name_len
    int form
    int accept                  # 0 nobody's, 1 a trusted proxy's, 2 anybody's


cdef void _hex_time(int64_t ms, char* at) noexcept nogil:
    cdef int i
    for i in range(12):
        at[i] = b"0123456789abcdef"[ms >> (44 - 4 * i) & 15]


cdef void _uuid(Exchange* x, char version) noexcept nogil:
    """RFC 9562 sections 5.4 and 5.7, made of an id of 32 hex digits."""
    cdef char raw[32]
    cdef int i, at = 0
    memcpy(raw, x.id, 32)
    if version == c"7":
        _hex_time((x.lane.reactor.wall_us + x.lane.reactor.now_us) // 1000, raw)
    raw[12] = version
    raw[16] = b"89ab"[hex_digit(raw[16]) & 3]
    for i in range(32):
        if i in (8, 12, 16, 20):
            x.id[at] = c"-"
            at += 1
        x.id[at] = raw[i]
        at += 1
    x.id_len = at


cdef void _ulid(Exchange* x) noexcept nogil:
    """48 bits of time and 80 of chance, five bits a letter."""
    cdef char raw[32]
    cdef int64_t ms = (x.lane.reactor.wall_us + x.lane.reactor.now_us) // 1000
    cdef int i
    memcpy(raw, x.id, 32)
    for i in range(10):
        x.id[i] = BASE32[ms >> (45 - 5 * i) & 31]
    for i in range(16):
        x.id[10 + i] = BASE32[(hex_digit(raw[2 * i]) * 16 + hex_digit(raw[2 * i + 1])) & 31]
    x.id_len = 26


cdef bint _may_be_id(const Ids* ids, const char* s, uint32_t n) noexcept nogil:
    cdef uint32_t i
    if n == 0 or n > ID_MAX:
        return False
    for i in range(n):
        if not (c"0" <= s[i] <= c"9" or c"a" <= (s[i] | 32) <= c"z" or s[i] == c"-" or s[i] == c"_" or s[i] == c"."):
            return False
    return ids.shape == NULL or regex_match(ids.shape, s, n)


cdef bint _taken(const Ids* ids, Exchange* x) noexcept nogil:
    cdef int i = head_find(&x.head, ids.lower, ids.name_len, 0)
    cdef const Field* field
    if i < 0 or head_find(&x.head, ids.lower, ids.name_len, i + 1) >= 0:
        return False
    field = &x.head.fields[i]
    if not _may_be_id(ids, x.head.base + field.value, field.value_len):
        return False
    memcpy(x.id, x.head.base + field.value, field.value_len)
    x.id_len = field.value_len
    return True


cdef int _identify(void* self, Exchange* x) noexcept nogil:
    cdef const Ids* ids = <const Ids*>self
    if not ((ids.accept == 2 or (ids.accept == 1 and x.client.trusted)) and _taken(ids, x)):
        make_id(x)
        if ids.form == ULID:
            _ulid(x)
        elif ids.form != HEX:
            _uuid(x, c"4" if ids.form == UUID4 else c"7")
    # The field that every request to an origin carries its id in is written by gw itself.
    if ids.name_len == x.snapshot.id_name_len and same_name(ids.name, x.snapshot.id_name, ids.name_len):
        return STEP_NEXT
    if not edit_push(&x.origin_edits, EDIT_SET, ids.name, ids.name_len, x.id, x.id_len):
        return step_refuses(x, R_OVERLOADED, NULL, 0)
    return STEP_NEXT


cdef int _echo(void* self, Exchange* x) noexcept nogil:
    cdef const Ids* ids = <const Ids*>self
    edit_push(&x.client_edits, EDIT_SET, ids.name, ids.name_len, x.id, x.id_len)
    return STEP_NEXT


@cython.final
cdef class RequestIdStep(Step):
    cdef Ids ids
    cdef Regex shape
    cdef bytes field
    cdef bytes lower

    def __init__(self, name: str, form: int, accept: int, shape, echo: bool) -> None:
        Step.__init__(self, "request-id")
        self.field = name.encode()
        self.lower = self.field.lower()
        self.shape = shape
        self.ids.name = PyBytes_AS_STRING(self.field)
        self.ids.lower = PyBytes_AS_STRING(self.lower)
        self.ids.name_len = len(self.field)
        self.ids.shape = self.shape.program if shape is not None else NULL
        self.ids.form = form
        self.ids.accept = accept
        self.request.run = _identify
        self.request.self = self.response.self = &self.ids
        if echo:
            self.response.run = _echo

    cdef str told(self, Exchange* x, int verdict):
        return PyBytes_FromStringAndSize(x.id, x.id_len).decode("latin-1")
