"""Fields of a head as they would be sent now, the exchange's edits included."""
from libc.stdint cimport uint32_t

from gw._fast.headers cimport Field, Head
from gw._fast.plane cimport Edits, Exchange


cdef struct FieldWalk:          # over the values of one name; all pointers are borrowed from the exchange
    const Exchange* x
    const Head* head
    const Edits* edits
    const char* name
    uint32_t name_len
    uint32_t field              # next field of the head to look at
    uint32_t edit               # next edit to look at
    bint answer                 # of the answer, else of the request
    bint found                  # there was a value
    const char* value           # set by fields_next
    uint32_t value_len


cdef void fields_named(FieldWalk* walk, const Exchange* x, bint answer, const char* name, uint32_t n) noexcept nogil
cdef bint fields_next(FieldWalk* walk) noexcept nogil               # False behind the last value
# What an origin will not see of a client's claims, policies do not see either; framing and hop-by-hop fields they may look at.
cdef bint field_shown(const Exchange* x, bint answer, const Field* field) noexcept nogil
# Behind how many edits the last `set` or `remove` of this name stands, itself included: all before it is gone. 0 when there is none.
cdef uint32_t edits_undo(const Edits* edits, const char* name, uint32_t n) noexcept nogil
cdef bint edit_adds(const Edits* edits, uint32_t i, bint found) noexcept nogil      # `found`: the message has a field of its name by now
