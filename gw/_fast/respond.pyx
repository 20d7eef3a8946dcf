cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint16_t, uint32_t
from libc.stdlib cimport calloc, free

from gw._fast.headers cimport head_find, same_token
from gw._fast.plane cimport STEP_ANSWER, Exchange
from gw._fast.step cimport Step

cdef struct Choice:             # all text is owned by the step's `held`
    const char* kind            # "text/html"
    const char* fields
    const char* body
    uint32_t kind_len
    uint32_t slash              # index of '/' in kind
    uint32_t fields_len
    uint32_t body_len
    int fit                     # of the range that fits best so far, while one request is judged: 1 */*, 2 text/*, 3 text/html
    int quality                 # thousandths, of that range

cdef struct Choices:
    Choice* items               # owned by the step
    uint32_t n
    uint16_t status


cdef int _quality(const char* s, uint32_t n) noexcept nogil:
    """Thousandths of the parameter q behind a range; without one 1000 (RFC 9110 section 12.4.2)."""
    cdef uint32_t i = 0
    cdef int value, scale
    while i < n:
        while i < n and (s[i] == c";" or s[i] == c" " or s[i] == c"\t"):
            i += 1
        if i + 2 < n and (s[i] | 32) == c"q" and s[i + 1] == c"=":
            value = 1000 if s[i + 2] == c"1" else 0
            scale = 100
            i += 4
            while i < n and c"0" <= s[i] <= c"9" and value < 1000:
                value += (s[i] - c"0") * scale
                scale //= 10
                i += 1
            return value
        while i < n and s[i] != c";":
            i += 1
    return 1000


cdef int _fit(const Choice* choice, const char* s, uint32_t n) noexcept nogil:
    if n == choice.kind_len and same_token(s, choice.kind, n):
        return 3
    if n == choice.slash + 2 and s[n - 1] == c"*" and same_token(s, choice.kind, choice.slash + 1):
        return 2
    return 1 if n == 3 and s[0] == c"*" and s[1] == c"/" and s[2] == c"*" else 0


cdef void _weigh(const Choices* choices, const char* s, uint32_t n) noexcept nogil:
    """One range, with its parameters."""
    cdef uint32_t end = 0, i
    cdef int fit, quality
    cdef Choice* choice
    while end < n and s[end] != c";" and s[end] != c" " and s[end] != c"\t":
        end += 1
    quality = _quality(s + end, n - end)
    for i in range(choices.n):
        choice = &choices.items[i]
        fit = _fit(choice, s, end)
        if fit > choice.fit:
            choice.fit = fit
            choice.quality = quality


cdef void _weigh_all(const Choices* choices, const char* s, uint32_t n) noexcept nogil:
    cdef uint32_t at = 0, end
    while at < n:
        while at < n and (s[at] == c" " or s[at] == c"\t" or s[at] == c","):
            at += 1
        end = at
        while end < n and s[end] != c",":
            end += 1
        if end > at:
            _weigh(choices, s + at, end - at)
        at = end


cdef void _forget(const Choices* choices) noexcept nogil:
    cdef uint32_t i
    for i in range(choices.n):
        choices.items[i].fit = 0
        choices.items[i].quality = 0


cdef uint32_t _best(const Choices* choices) noexcept nogil:
    cdef uint32_t i, best = 0
    for i in range(1, choices.n):
        if choices.items[i].quality > choices.items[best].quality:
            best = i
    return best


cdef int _respond(void* self, Exchange* x) noexcept nogil:
    cdef const Choices* choices = <const Choices*>self
    cdef const Choice* choice = &choices.items[0]
    cdef int i
    if choices.n > 1:
        _forget(choices)
        i = head_find(&x.head, b"accept", 6, 0)
        while i >= 0:
            _weigh_all(choices, x.head.base + x.head.fields[i].value, x.head.fields[i].value_len)
            i = head_find(&x.head, b"accept", 6, i + 1)
        choice = &choices.items[_best(choices)]
    x.own.status = choices.status
    x.own.fields = choice.fields
    x.own.fields_len = choice.fields_len
    x.own.body = choice.body
    x.own.body_len = choice.body_len
    return STEP_ANSWER


@cython.final
cdef class RespondStep(Step):
    cdef Choices choices
    cdef list held

    def __init__(self, status: int, choices) -> None:
        cdef bytes kind, fields, body
        cdef Choice* choice
        Step.__init__(self, "respond")
        self.held = []
        self.choices.items = <Choice*>calloc(len(choices), sizeof(Choice))
        if self.choices.items == NULL:
            raise MemoryError
        self.choices.status = status
        for name, fields, body in choices:
            kind = name.encode()
            self.held += [kind, fields, body]
            choice = &self.choices.items[self.choices.n]
            choice.kind = PyBytes_AS_STRING(kind)
            choice.kind_len = len(kind)
            choice.slash = kind.find(b"/")
            choice.fields = PyBytes_AS_STRING(fields)
            choice.fields_len = len(fields)
            choice.body = PyBytes_AS_STRING(body)
            choice.body_len = len(body)
            self.choices.n += 1
        self.request.run = _respond
        self.request.self = &self.choices

    def choose(self, accept: bytes) -> int:
        _forget(&self.choices)
        _weigh_all(&self.choices, PyBytes_AS_STRING(accept), <uint32_t>len(accept))
        return _best(&self.choices)

    def __dealloc__(self):
        free(self.choices.items)

    cdef str told(self, Exchange* x, int verdict):
        return f"{self.choices.status}, {x.own.body_len} B"
