"""Header and query matches: a header predicate holds for any field line of its name, a query predicate looks at the first parameter of its name."""
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp

from gw._fast.headers cimport Field, Head, Target, same_token
from gw._fast.regex cimport Program, regex_match

cdef enum:
    DECODED = 2048              # bytes of a query value decoded on the stack; a longer one is decoded on the heap


cdef bint _header_holds(const char* text, const Predicate* p, const Head* head) noexcept nogil:
    cdef uint32_t i
    cdef const Field* field
    cdef const char* value
    for i in range(head.n_fields if head != NULL else 0):
        field = &head.fields[i]
        if field.name_len != p.name_len or not same_token(head.base + field.name, text + p.name, p.name_len):
            continue
        if p.op == OP_PRESENT or p.op == OP_ABSENT:
            return p.op == OP_PRESENT
        value = head.base + field.value
        if p.op == OP_EQ and field.value_len == p.value_len and memcmp(value, text + p.value, p.value_len) == 0:
            return True
        if p.op == OP_REGEX and regex_match(p.program, value, field.value_len):
            return True
    return p.op == OP_ABSENT


cdef uint32_t query_decode(const char* s, uint32_t n, char* out) noexcept nogil:
    cdef uint32_t at = 0, length = 0
    while at < n:
        out[length] = c' ' if s[at] == c'+' else s[at]
        if s[at] == c'%':
            out[length] = next_octet(s, n, &at)
        else:
            at += 1
        length += 1
    return length


cdef bint query_equals(const char* s, uint32_t n, const char* want, uint32_t m) noexcept nogil:
    cdef uint32_t at = 0, i = 0
    cdef char c
    while at < n:
        if s[at] == c'+':
            c = c' '
            at += 1
        else:
            c = next_octet(s, n, &at)
        if i == m or want[i] != c:
            return False
        i += 1
    return i == m


cdef bint _decoded_matches(const char* s, uint32_t n, const Program* program) noexcept nogil:
    cdef char short_value[DECODED]
    cdef char* value = short_value
    cdef bint holds
    short_value[0] = 0
    if n > DECODED:
        value = <char*>malloc(n)
        if value == NULL:
            return False
    holds = regex_match(program, value, query_decode(s, n, value))
    if value != short_value:
        free(value)
    return holds


cdef bint _query_holds(const char* text, const Predicate* p, const char* query, uint32_t n) noexcept nogil:
    cdef uint32_t at = 0, end, equals
    while at < n:
        end = at
        equals = n
        while end < n and query[end] != c'&':
            if query[end] == c'=' and equals == n:
                equals = end
            end += 1
        if equals > end:
            equals = end
        if query_equals(query + at, equals - at, text + p.name, p.name_len):
            if p.op == OP_PRESENT or p.op == OP_ABSENT:
                return p.op == OP_PRESENT
            equals += equals < end
            if p.op == OP_EQ:
                return query_equals(query + equals, end - equals, text + p.value, p.value_len)
            return _decoded_matches(query + equals, end - equals, p.program)
        at = end + 1
    return p.op == OP_ABSENT


cdef bint predicates_hold(const char* text, const Predicate* p, uint32_t n_headers, uint32_t n_query, const Target* target) noexcept nogil:
    cdef uint32_t i
    for i in range(n_headers):
        if not _header_holds(text, p + i, target.head):
            return False
    for i in range(n_headers, n_headers + n_query):
        if not _query_holds(text, p + i, target.query, target.query_len):
            return False
    return True
