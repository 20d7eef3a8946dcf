cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free

from gw._fast.answer cimport R_OVERLOADED
from gw._fast.forward cimport edit_push, secure_for_client
from gw._fast.plane cimport STEP_NEXT, Edit, Exchange
from gw._fast.step cimport Step, step_refuses
from gw._fast.step import OPS

cdef struct Fields:
    Edit* items                 # owned by the step, text by its `held`
    uint32_t n_always           # the first of them, for every answer
    uint32_t n


cdef int _tell(void* self, Exchange* x) noexcept nogil:
    cdef const Fields* fields = <const Fields*>self
    cdef const Edit* edit
    cdef uint32_t i
    for i in range(fields.n if secure_for_client(x) else fields.n_always):
        edit = &fields.items[i]
        if not edit_push(&x.client_edits, edit.op, edit.name, edit.name_len, edit.value, edit.value_len):
            return step_refuses(x, R_OVERLOADED, NULL, 0)
    return STEP_NEXT


@cython.final
cdef class SecureHeaderStep(Step):
    cdef Fields fields
    cdef list held

    def __init__(self, name: str, edits, secure) -> None:
        cdef bytes field, value
        cdef Edit* edit
        Step.__init__(self, name)
        self.held = []
        self.fields.items = <Edit*>calloc(len(edits) + len(secure) + 1, sizeof(Edit))
        if self.fields.items == NULL:
            raise MemoryError
        self.fields.n_always = len(edits)
        for op, raw_name, raw_value in [*edits, *secure]:
            field = raw_name.encode("latin-1")
            value = raw_value.encode("latin-1")
            self.held += [field, value]
            edit = &self.fields.items[self.fields.n]
            edit.op = OPS[op]
            edit.name = PyBytes_AS_STRING(field)
            edit.name_len = len(field)
            edit.value = PyBytes_AS_STRING(value)
            edit.value_len = len(value)
            self.fields.n += 1
        self.response.run = _tell
        self.response.self = &self.fields

    def __dealloc__(self):
        free(self.fields.items)
