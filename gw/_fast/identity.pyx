cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint32_t

from gw._fast.forward cimport edit_push
from gw._fast.plane cimport EDIT_REMOVE, EDIT_SET, STEP_NEXT, Exchange, Identity
from gw._fast.step cimport Step

FIELDS = ("consumer", "subject", "credential", "groups", "scopes", "method")

cdef enum: N_FIELDS = 6

cdef struct Told:
    const char* names[6]        # by index of FIELDS; NULL: not told. Text by IdentityStep.held
    uint32_t name_len[6]


cdef const char* _value(const Identity* who, int field, uint32_t* n) noexcept nogil:
    if field == 0:
        n[0] = who.consumer.name_len if who.consumer != NULL else 0
        return who.consumer.name if who.consumer != NULL else NULL
    if field == 1:
        n[0] = who.subject_len
        return who.subject
    if field == 2:
        n[0] = who.credential_len
        return who.credential
    if field == 3:
        return _groups(who, n)
    if field == 4:
        n[0] = who.scopes_len
        return who.scopes
    n[0] = who.method_len
    return who.method


cdef const char* _groups(const Identity* who, uint32_t* n) noexcept nogil:
    """The credential's own, or else the consumer's."""
    if who.groups_len or who.consumer == NULL:
        n[0] = who.groups_len
        return who.groups
    n[0] = who.consumer.groups_len
    return who.consumer.groups


cdef bint _sendable(const char* text, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(n):
        if 0 <= text[i] < 32 or text[i] == 127:
            return False
    return True


cdef int _tell(void* self, Exchange* x) noexcept nogil:
    cdef const Told* told = <const Told*>self
    cdef const char* value
    cdef uint32_t n = 0
    cdef int i
    for i in range(N_FIELDS):
        if told.names[i] == NULL:
            continue
        n = 0
        value = _value(&x.identity, i, &n)
        if value != NULL and n and _sendable(value, n):
            edit_push(&x.origin_edits, EDIT_SET, told.names[i], told.name_len[i], value, n)
        elif not x.client.trusted or x.identity.method != NULL:
            edit_push(&x.origin_edits, EDIT_REMOVE, told.names[i], told.name_len[i], b"", 0)
    return STEP_NEXT


@cython.final
cdef class IdentityStep(Step):
    """`names`: FIELDS -> name of a header field, or None. A client's own copies go, unless it is a trusted proxy and nobody was authenticated here."""
    cdef Told names
    cdef list held

    def __init__(self, names: dict) -> None:
        cdef bytes name
        Step.__init__(self, "identity")
        self.held = []
        for i, field in enumerate(FIELDS):
            if names.get(field):
                name = names[field].encode()
                self.held.append(name)
                self.names.names[<int>i] = PyBytes_AS_STRING(name)
                self.names.name_len[<int>i] = len(name)
        self.request.run = _tell
        self.request.self = &self.names
