from libc.stdint cimport uint32_t

from gw._fast.headers cimport FIELD_DROP, FIELD_SPELLED, H_CONTENT_LENGTH, H_FORWARDED, H_HTTP2_SETTINGS, H_X_FORWARDED_OTHER, same_name
from gw._fast.plane cimport EDIT_ADD, EDIT_DEFAULT, EDIT_REMOVE, EDIT_SET


cdef bint field_shown(const Exchange* x, bint answer, const Field* field) noexcept nogil:
    if field.flags & FIELD_SPELLED or (field.flags & FIELD_DROP and not H_CONTENT_LENGTH <= field.id <= H_HTTP2_SETTINGS):
        return False
    if answer:
        return True
    if H_FORWARDED <= field.id <= H_X_FORWARDED_OTHER and not x.client.trusted:
        return False
    return field.name_len != x.snapshot.id_name_len or not same_name(x.head.base + field.name, x.snapshot.id_lower, field.name_len)


cdef uint32_t edits_undo(const Edits* edits, const char* name, uint32_t n) noexcept nogil:
    cdef uint32_t i = edits.n
    while i:
        if edits.items[i - 1].op in (EDIT_SET, EDIT_REMOVE) and edits.items[i - 1].name_len == n and same_name(edits.items[i - 1].name, name, n):
            return i
        i -= 1
    return 0


cdef bint edit_adds(const Edits* edits, uint32_t i, bint found) noexcept nogil:
    return edits.items[i].op in (EDIT_SET, EDIT_ADD) or (edits.items[i].op == EDIT_DEFAULT and not found)


cdef void fields_named(FieldWalk* walk, const Exchange* x, bint answer, const char* name, uint32_t n) noexcept nogil:
    cdef uint32_t since
    walk.x = x
    walk.answer = answer
    walk.head = &x.answer_head if answer else &x.head
    walk.edits = &x.client_edits if answer else &x.origin_edits
    walk.name = name
    walk.name_len = n
    walk.found = False
    since = edits_undo(walk.edits, name, n)
    walk.field = walk.head.n_fields if since else 0
    walk.edit = since - 1 if since else 0


cdef bint fields_next(FieldWalk* walk) noexcept nogil:
    cdef const Field* field
    cdef uint32_t i
    while walk.field < walk.head.n_fields:
        field = &walk.head.fields[walk.field]
        walk.field += 1
        if field.name_len == walk.name_len and same_name(walk.head.base + field.name, walk.name, walk.name_len) and field_shown(walk.x, walk.answer, field):
            walk.value = walk.head.base + field.value
            walk.value_len = field.value_len
            walk.found = True
            return True
    while walk.edit < walk.edits.n:
        i = walk.edit
        walk.edit += 1
        if edit_adds(walk.edits, i, walk.found) and walk.edits.items[i].name_len == walk.name_len and same_name(walk.edits.items[i].name, walk.name, walk.name_len):
            walk.value = walk.edits.items[i].value
            walk.value_len = walk.edits.items[i].value_len
            walk.found = True
            return True
    return False
