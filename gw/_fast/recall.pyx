"""A head that is the same bytes means the same. Where nothing repeats, little is kept, and seldom."""

from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from gw._fast.slab cimport slab_has_room

cdef enum:
    TRIES = 8                   # misses in a row after which
    SELDOM = 32                 # only one in so many heads is kept


cdef inline uint32_t _slot(uint32_t end) noexcept nogil:
    """Answers of one size in one read tend to have one head: that keeps kinds of answers apart which take turns."""
    return (end ^ end >> 2 ^ end >> 5) % RECALL_SLOTS


cdef bint recall_take(Recall* recall, HeadParser* parser, const char* base, uint32_t end, uint32_t max_head, Message* out) noexcept nogil:
    cdef const Recalled* kept = recall.slots[_slot(end)]
    if kept == NULL or kept.n > end or kept.n > max_head or kept.n_fields > parser.max_fields or memcmp(base, kept.head, kept.n) != 0:
        recall.misses += 1
        return False
    recall.misses = 0
    parser.head.base = base
    parser.head.n_fields = kept.n_fields
    memcpy(parser.head.fields, kept.fields, kept.n_fields * sizeof(Field))
    out[0] = kept.message
    return True


cdef void recall_keep(Recall* recall, Slab* slab, const HeadParser* parser, uint32_t end, const Message* message) noexcept nogil:
    cdef Recalled** slot = &recall.slots[_slot(end)]
    if message.head_len > RECALL_BYTES or parser.head.n_fields > RECALL_FIELDS or message.status < 200 or (recall.misses > TRIES and recall.misses % SELDOM):
        return
    if slot[0] == NULL:
        slot[0] = <Recalled*>malloc(sizeof(Recalled)) if slab_has_room(slab, sizeof(Recalled)) else NULL
        if slot[0] == NULL:
            return
        slab.held[0] += sizeof(Recalled)
    slot[0].n = message.head_len
    slot[0].n_fields = parser.head.n_fields
    slot[0].message = message[0]
    memcpy(slot[0].fields, parser.head.fields, slot[0].n_fields * sizeof(Field))
    memcpy(slot[0].head, parser.head.base, slot[0].n)


cdef void recall_free(Recall* recall, Slab* slab) noexcept nogil:
    cdef uint32_t i
    for i in range(RECALL_SLOTS):
        if recall.slots[i] != NULL:
            free(recall.slots[i])
            recall.slots[i] = NULL
            slab.held[0] -= sizeof(Recalled)
