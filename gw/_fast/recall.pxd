"""Heads of answers that an endpoint has given before: it says most of them again, byte for byte, and what they mean was read already."""
from libc.stdint cimport uint32_t

from gw._fast.h1 cimport HeadParser, Message
from gw._fast.headers cimport Field
from gw._fast.slab cimport Slab


cdef enum:
    RECALL_SLOTS = 4
    RECALL_BYTES = 1024         # longest head that is kept
    RECALL_FIELDS = 24          # most fields of it


cdef struct Recalled:           # one head, and what came of reading it
    uint32_t n                  # bytes of it
    uint32_t n_fields
    Message message
    Field fields[RECALL_FIELDS]
    char head[RECALL_BYTES]


cdef struct Recall:             # zeroed is empty
    Recalled* slots[RECALL_SLOTS]   # owned; NULL until something was kept
    uint32_t misses             # in a row


# As response_feed, for a parser that has seen nothing yet; False: the head is none of those kept.
cdef bint recall_take(Recall* recall, HeadParser* parser, const char* base, uint32_t end, uint32_t max_head, Message* out) noexcept nogil
# After response_feed has read a whole head out of bytes up to `end`, and before anybody marks its fields.
cdef void recall_keep(Recall* recall, Slab* slab, const HeadParser* parser, uint32_t end, const Message* message) noexcept nogil
cdef void recall_free(Recall* recall, Slab* slab) noexcept nogil
