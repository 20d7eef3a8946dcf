cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, realloc

from gw._fast.forward cimport edit_push
from gw._fast.plane cimport EDIT_ADD, EDIT_DEFAULT, EDIT_REMOVE, EDIT_SET, STEP_NEXT, Edit, Edits, Holds, Park

OPS = {"set": EDIT_SET, "add": EDIT_ADD, "remove": EDIT_REMOVE, "default": EDIT_DEFAULT}

cdef enum: HOLDS_FIRST = 4


cdef class Step:
    def __init__(self, name: str) -> None:
        self.name = name
        self.pointer = ""
        self.owns = []

    def attach(self, report) -> None:
        """The lane that will run it tells where failures go: report(event, fields)."""

    def count_in(self, segment, worker: int) -> None:
        """The lane that will run it tells where its worker's figures stand."""

    cdef str told(self, Exchange* x, int verdict):
        return ""

    def phases(self) -> list:
        """The phases this step takes part in, in the order of life."""
        return [phase for phase, there in (("request", self.request.run != NULL), ("response", self.response.run != NULL), ("done", self.done.run != NULL)) if there]


cdef bint step_holds(Exchange* x, void (*give_back)(Exchange* x, const Hold* hold) noexcept nogil, void* owner, int64_t what) noexcept nogil:
    cdef Holds* holds = &x.holds
    cdef uint32_t cap = holds.cap
    cdef Hold* grown
    if holds.n == cap:
        cap = cap * 2 if cap else HOLDS_FIRST
        grown = <Hold*>realloc(holds.items, cap * sizeof(Hold))
        if grown == NULL:
            return False
        holds.items = grown
        holds.cap = cap
    holds.items[holds.n].give_back = give_back
    holds.items[holds.n].owner = owner
    holds.items[holds.n].what = what
    holds.n += 1
    return True


cdef void holds_end(Exchange* x) noexcept nogil:
    cdef const Hold* hold
    while x.holds.n:
        x.holds.n -= 1
        hold = &x.holds.items[x.holds.n]
        hold.give_back(x, hold)


cdef void waiting_init(Waiting* waiting) noexcept nogil:
    waiting.ring.next = waiting.ring.prev = &waiting.ring
    waiting.n = 0


cdef void waiting_add(Waiting* waiting, Exchange* x, void (*leave)(Exchange* x, bint ended) noexcept nogil) noexcept nogil:
    cdef Park* park = &x.park
    park.x = x
    park.leave = leave
    park.prev = waiting.ring.prev
    park.next = &waiting.ring
    park.prev.next = park
    waiting.ring.prev = park
    waiting.n += 1


cdef void waiting_remove(Waiting* waiting, Exchange* x) noexcept nogil:
    cdef Park* park = &x.park
    park.leave = NULL
    park.prev.next = park.next
    park.next.prev = park.prev
    waiting.n -= 1


cdef void waiting_wake(Waiting* waiting, void (*go_on)(Exchange* x) noexcept nogil) noexcept nogil:
    cdef uint32_t n = waiting.n
    cdef Exchange* x
    while n and waiting.n:
        n -= 1
        x = waiting.ring.next.x
        waiting_remove(waiting, x)
        go_on(x)


cdef struct EditList:
    Edit* items
    uint32_t n


cdef int _push_all(const EditList* edits, Edits* into) noexcept nogil:
    cdef uint32_t i
    cdef const Edit* edit
    for i in range(edits.n):
        edit = &edits.items[i]
        edit_push(into, edit.op, edit.name, edit.name_len, edit.value, edit.value_len)
    return STEP_NEXT


cdef int _edit_request(void* self, Exchange* x) noexcept nogil:
    return _push_all(<const EditList*>self, &x.origin_edits)


cdef int _edit_response(void* self, Exchange* x) noexcept nogil:
    return _push_all(<const EditList*>self, &x.client_edits)


@cython.final
cdef class HeaderStep(Step):
    """Fixed edits of the head towards the origin and of the head towards the client: lists of (op, name, value) with op from OPS."""
    cdef EditList on_request    # items owned by this object, text by `held`
    cdef EditList on_response
    cdef list held

    def __init__(self, name: str, request: list, response: list) -> None:
        Step.__init__(self, name)
        self.held = []
        self._fill(&self.on_request, request)
        self._fill(&self.on_response, response)
        if request:
            self.request.run = _edit_request
            self.request.self = &self.on_request
        if response:
            self.response.run = _edit_response
            self.response.self = &self.on_response

    cdef _fill(self, EditList* into, list edits):
        cdef bytes name, value
        cdef uint32_t i = 0
        if not edits:
            return
        into.items = <Edit*>calloc(len(edits), sizeof(Edit))
        if into.items == NULL:
            raise MemoryError
        into.n = len(edits)
        for op, raw_name, raw_value in edits:
            name = raw_name.encode("latin-1")
            value = raw_value.encode("latin-1")
            self.held += [name, value]
            into.items[i].op = OPS[op]
            into.items[i].name = PyBytes_AS_STRING(name)
            into.items[i].name_len = len(name)
            into.items[i].value = PyBytes_AS_STRING(value)
            into.items[i].value_len = len(value)
            i += 1

    def __dealloc__(self):
        free(self.on_request.items)
        free(self.on_response.items)
