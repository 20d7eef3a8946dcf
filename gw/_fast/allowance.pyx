cimport cython
from libc.stdint cimport int64_t, uint32_t

from gw._fast.answer cimport R_BODY_TOO_LARGE, R_HEAD_TOO_LARGE, R_TOO_MANY_FIELDS
from gw._fast.h1 cimport BODY_LENGTH
from gw._fast.plane cimport STEP_NEXT, Allowance, Exchange
from gw._fast.step cimport Step, step_refuses

cdef struct Most:               # 0: as the route says
    uint32_t head               # bytes
    uint32_t fields
    Allowance allowance


cdef inline int64_t _lower(int64_t given, int64_t ours) noexcept nogil:
    return ours if ours and (given == 0 or ours < given) else given


cdef void _lower_all(Exchange* x, const Allowance* ours) noexcept nogil:
    if x.allowance != &x.lowered:
        x.lowered = x.allowance[0]
        x.allowance = &x.lowered
    x.lowered.max_body = _lower(x.lowered.max_body, ours.max_body)
    x.lowered.connect_ms = _lower(x.lowered.connect_ms, ours.connect_ms)
    x.lowered.answer_ms = _lower(x.lowered.answer_ms, ours.answer_ms)
    x.lowered.idle_ms = _lower(x.lowered.idle_ms, ours.idle_ms)


cdef int _judge(void* self, Exchange* x) noexcept nogil:
    cdef const Most* most = <const Most*>self
    if most.fields and x.head.n_fields > most.fields:
        return step_refuses(x, R_TOO_MANY_FIELDS, NULL, 0)
    if most.head and x.request.head_len > most.head:
        return step_refuses(x, R_HEAD_TOO_LARGE, NULL, 0)
    if most.allowance.max_body and x.request.framing == BODY_LENGTH and x.request.length > most.allowance.max_body:
        return step_refuses(x, R_BODY_TOO_LARGE, NULL, 0)
    _lower_all(x, &most.allowance)
    return STEP_NEXT


@cython.final
cdef class AllowanceStep(Step):
    cdef Most most

    def __init__(self, name: str, *, head: int = 0, fields: int = 0, body: int = 0, connect_ms: int = 0, answer_ms: int = 0, idle_ms: int = 0) -> None:
        Step.__init__(self, name)
        self.most.head = head
        self.most.fields = fields
        self.most.allowance.max_body = body
        self.most.allowance.connect_ms = connect_ms
        self.most.allowance.answer_ms = answer_ms
        self.most.allowance.idle_ms = idle_ms
        self.request.run = _judge
        self.request.self = &self.most

    cdef str told(self, Exchange* x, int verdict):
        cdef const Allowance* now = x.allowance
        cdef str waits = f"connect {now.connect_ms} ms, answer {now.answer_ms} ms, idle {now.idle_ms} ms"
        return f"head {x.request.head_len} B, {x.head.n_fields} fields; body up to {now.max_body or 'any number of'} B, {waits}"
