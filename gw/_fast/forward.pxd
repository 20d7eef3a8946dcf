"""Heads as they leave: hop-by-hop fields out, forwarding fields in, edits applied, unchanged runs copied whole."""
from libc.stdint cimport uint8_t, uint32_t

from gw._fast.headers cimport Head
from gw._fast.out cimport Out
from gw._fast.plane cimport Edits, Exchange, SnapshotState, Template


cdef void request_head(Exchange* x, Out* out) noexcept nogil         # towards the origin
cdef void response_head(Exchange* x, Out* out) noexcept nogil        # towards the client, status 101 included
cdef void choose_framing(Exchange* x) noexcept nogil                # sets X_CHUNK_OUT, X_EOF_OUT, X_CLOSE for the answer
cdef void interim_head(Exchange* x, Out* out) noexcept nogil         # a 1xx on its way to the client
cdef void put_template(Exchange* x, const Template* template, Out* out) noexcept nogil
cdef void put_rest(Exchange* x, Out* out) noexcept nogil
cdef void put_target(Exchange* x, Out* out) noexcept nogil          # path and query towards the origin; x.path_code is set when they cannot leave
cdef bint target_normal(Exchange* x, const char* path, uint32_t n) noexcept nogil    # else x.path_code says why
# n bytes of the exchange's arena for text of edits and answers, or NULL. All that points into the arena moves with it when it grows.
cdef char* text_room(Exchange* x, uint32_t n) noexcept nogil
cdef bint secure_for_client(const Exchange* x) noexcept nogil       # its own connection is TLS, as a trusted proxy may tell
cdef bint edit_push(Edits* edits, uint8_t op, const char* name, uint32_t name_len, const char* value, uint32_t value_len) noexcept nogil
# Marks the fields that `set` and `remove` take away, in every spelling, turns off edits that later ones undo, and defaults that the message has.
cdef void apply_removals(Head* head, Edits* edits) noexcept nogil
cdef void put_edits(const Edits* edits, Out* out) noexcept nogil      # field lines of what is left to add
cdef bint client_ip(Exchange* x, uint8_t* ip) noexcept nogil              # the same in 16 bytes, IPv4 inside IPv6; False: it has none
cdef const char* client_address(Exchange* x, uint32_t* n) noexcept nogil   # of the first peer that is not a trusted proxy
cdef bint address_trusted(const SnapshotState* snapshot, const char* text, uint32_t n) noexcept nogil
