cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free

from gw._fast.answer cimport R_DENIED
from gw._fast.headers cimport Field, head_find
from gw._fast.plane cimport STEP_NEXT, Exchange
from gw._fast.regex cimport Program, Regex, regex_match
from gw._fast.step cimport Step, step_refuses

cdef struct Expressions:
    const Program** items       # the array is owned by the step, the programs by its Regex objects
    uint32_t n

cdef struct Agents:
    Expressions allow
    Expressions deny
    bint nameless


cdef bint _any(const Expressions* expressions, const char* s, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(expressions.n):
        if regex_match(expressions.items[i], s, n):
            return True
    return False


cdef bint _may_pass(const Agents* agents, const Exchange* x) noexcept nogil:
    """A client that says who it is more than once is judged by each of its names."""
    cdef const Field* field
    cdef const char* name
    cdef bint named = False
    cdef int i = head_find(&x.head, b"user-agent", 10, 0)
    while i >= 0:
        field = &x.head.fields[i]
        name = x.head.base + field.value
        if field.value_len:
            named = True
            if _any(&agents.deny, name, field.value_len) and not _any(&agents.allow, name, field.value_len):
                return False
        i = head_find(&x.head, b"user-agent", 10, i + 1)
    return named or agents.nameless


cdef int _judge(void* self, Exchange* x) noexcept nogil:
    return STEP_NEXT if _may_pass(<const Agents*>self, x) else step_refuses(x, R_DENIED, NULL, 0)


@cython.final
cdef class AgentStep(Step):
    cdef Agents agents
    cdef list held

    def __init__(self, allow, deny, nameless: bool) -> None:
        Step.__init__(self, "bot")
        self.held = [*allow, *deny]
        self._fill(&self.agents.allow, list(allow))
        self._fill(&self.agents.deny, list(deny))
        self.agents.nameless = nameless
        self.request.run = _judge
        self.request.self = &self.agents

    cdef _fill(self, Expressions* into, list expressions):
        cdef Regex regex
        into.items = <const Program**>calloc(len(expressions) + 1, sizeof(void*))
        if into.items == NULL:
            raise MemoryError
        for regex in expressions:
            into.items[into.n] = regex.program
            into.n += 1

    def __dealloc__(self):
        free(self.agents.allow.items)
        free(self.agents.deny.items)

    cdef str told(self, Exchange* x, int verdict):
        cdef int i = head_find(&x.head, b"user-agent", 10, 0)
        return PyBytes_FromStringAndSize(x.head.base + x.head.fields[i].value, x.head.fields[i].value_len).decode("latin-1") if i >= 0 else "no agent"
