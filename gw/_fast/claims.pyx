"""Strict JSON: one recursive pass that judges, and readers of what it took."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memchr, memcmp, memcpy

cdef enum:                  # octets of KIND
    KIND_PLAIN = 1          # stands for itself inside a string
    KIND_SPACE = 2          # between values
    KIND_DIGIT = 4

cdef uint8_t KIND[256]
cdef int32_t HEX[256]       # value of a hex digit, or -1


cdef void _fill_tables():
    cdef int octet
    for octet in range(256):
        KIND[octet] = KIND_PLAIN if 0x20 <= octet < 0x80 and octet not in (0x22, 0x5C) else 0
        HEX[octet] = int(chr(octet), 16) if chr(octet) in "0123456789abcdefABCDEF" else -1
    for octet in (0x09, 0x0A, 0x0D, 0x20):
        KIND[octet] |= KIND_SPACE
    for octet in range(0x30, 0x3A):
        KIND[octet] |= KIND_DIGIT


_fill_tables()


cdef struct Reader:
    const uint8_t* p        # next octet
    const uint8_t* end
    Members* open           # members of every open object, the outermost one's first
    uint32_t members_max


cdef inline void _space(Reader* r) noexcept nogil:
    while r.p < r.end and KIND[r.p[0]] & KIND_SPACE:
        r.p += 1


cdef inline bint _take(Reader* r, uint8_t octet) noexcept nogil:
    if r.p < r.end and r.p[0] == octet:
        r.p += 1
        return True
    return False


# Octets of the UTF-8 sequence at p, which begins above 0x7F (RFC 3629 section 4), or 0.
cdef int _sequence(const uint8_t* p, const uint8_t* end) noexcept nogil:
    cdef uint8_t lead = p[0], low = 0x80, high = 0xBF
    cdef int n = 2 if 0xC2 <= lead <= 0xDF else 3 if 0xE0 <= lead <= 0xEF else 4 if 0xF0 <= lead <= 0xF4 else 0
    cdef int i
    if n == 0 or end - p < n:
        return 0
    if lead == 0xE0:
        low = 0xA0
    elif lead == 0xED:
        high = 0x9F
    elif lead == 0xF0:
        low = 0x90
    elif lead == 0xF4:
        high = 0x8F
    if not low <= p[1] <= high:
        return 0
    for i in range(2, n):
        if not 0x80 <= p[i] <= 0xBF:
            return 0
    return n


cdef int32_t _hex4(const uint8_t* p) noexcept nogil:
    cdef int32_t a = HEX[p[0]], b = HEX[p[1]], c = HEX[p[2]], d = HEX[p[3]]
    return -1 if (a | b | c | d) < 0 else a << 12 | b << 8 | c << 4 | d


# After a backslash.
cdef int _escape(Reader* r) noexcept nogil:
    cdef int32_t unit, low
    if r.end - r.p < 1:
        return JSON_E_SYNTAX
    if r.p[0] != c'u':
        if memchr(b'"\\/bfnrt', r.p[0], 8) == NULL:
            return JSON_E_SYNTAX
        r.p += 1
        return 0
    unit = _hex4(r.p + 1) if r.end - r.p >= 5 else -1
    if unit < 0:
        return JSON_E_SYNTAX
    r.p += 5
    if not 0xD800 <= unit <= 0xDFFF:
        return 0
    if unit >= 0xDC00 or r.end - r.p < 6 or r.p[0] != c'\\' or r.p[1] != c'u':
        return JSON_E_UTF8
    low = _hex4(r.p + 2)
    if not 0xDC00 <= low <= 0xDFFF:
        return JSON_E_UTF8
    r.p += 6
    return 0


# After the opening quote.
cdef int _string(Reader* r, Value* out) noexcept nogil:
    cdef const uint8_t* start = r.p
    cdef int n, code
    out.type = JSON_STRING
    out.escaped = False
    while True:
        while r.p < r.end and KIND[r.p[0]] & KIND_PLAIN:
            r.p += 1
        if r.p == r.end or r.p[0] < 0x20:
            return JSON_E_SYNTAX
        if r.p[0] == c'"':
            out.p = <const char*>start
            out.n = <uint32_t>(r.p - start)
            r.p += 1
            return 0
        if r.p[0] == c'\\':
            out.escaped = True
            r.p += 1
            code = _escape(r)
            if code < 0:
                return code
        else:
            n = _sequence(r.p, r.end)
            if n == 0:
                return JSON_E_UTF8
            r.p += n


cdef bint _digits(Reader* r) noexcept nogil:
    cdef const uint8_t* start = r.p
    while r.p < r.end and KIND[r.p[0]] & KIND_DIGIT:
        r.p += 1
    return r.p > start


cdef int _number(Reader* r) noexcept nogil:
    _take(r, c'-')
    if not _take(r, c'0') and not _digits(r):
        return JSON_E_SYNTAX
    if _take(r, c'.') and not _digits(r):
        return JSON_E_SYNTAX
    if _take(r, c'e') or _take(r, c'E'):
        if not _take(r, c'+'):
            _take(r, c'-')
        if not _digits(r):
            return JSON_E_SYNTAX
    return 0


cdef int _word(Reader* r, const char* word, uint32_t n) noexcept nogil:
    if r.end - r.p < n or memcmp(r.p, word, n) != 0:
        return JSON_E_SYNTAX
    r.p += n
    return 0


cdef int _value(Reader* r, int depth, Value* out) noexcept nogil:
    cdef const uint8_t* start = r.p
    cdef int code
    if r.p == r.end:
        return JSON_E_SYNTAX
    if _take(r, c'"'):
        return _string(r, out)
    if r.p[0] == c'{' or r.p[0] == c'[':
        out.type = JSON_OBJECT if r.p[0] == c'{' else JSON_ARRAY
        if depth == JSON_DEPTH_MAX:
            return JSON_E_DEPTH
        r.p += 1
        code = _object(r, depth + 1) if out.type == JSON_OBJECT else _array(r, depth + 1)
    elif r.p[0] == c't':
        out.type = JSON_TRUE
        code = _word(r, b"true", 4)
    elif r.p[0] == c'f':
        out.type = JSON_FALSE
        code = _word(r, b"false", 5)
    elif r.p[0] == c'n':
        out.type = JSON_NULL
        code = _word(r, b"null", 4)
    else:
        out.type = JSON_NUMBER
        code = _number(r)
    out.p = <const char*>start
    out.n = <uint32_t>(r.p - start)
    out.escaped = False
    return code


cdef int _array(Reader* r, int depth) noexcept nogil:
    cdef Value element
    cdef int code
    _space(r)
    if _take(r, c']'):
        return 0
    while True:
        _space(r)
        code = _value(r, depth, &element)
        if code < 0:
            return code
        _space(r)
        if _take(r, c']'):
            return 0
        if not _take(r, c','):
            return JSON_E_SYNTAX


cdef bint _same_name(const Member* a, const Member* b) noexcept nogil:
    cdef const uint8_t* p = <const uint8_t*>a.name.p
    cdef const uint8_t* q = <const uint8_t*>b.name.p
    cdef const uint8_t* p_end = p + a.name.n
    cdef const uint8_t* q_end = q + b.name.n
    if a.hash != b.hash:
        return False
    while p < p_end and q < q_end:
        if _next(&p) != _next(&q):
            return False
    return p == p_end and q == q_end


cdef int _member(Reader* r, uint32_t first, int depth) noexcept nogil:
    cdef Member* member = r.open.items + r.open.n
    cdef uint32_t i
    cdef int code
    if r.open.n == r.members_max:
        return JSON_E_MEMBERS
    if not _take(r, c'"'):
        return JSON_E_SYNTAX
    code = _string(r, &member.name)
    if code < 0:
        return code
    member.hash = _hash(&member.name)
    for i in range(first, r.open.n):
        if _same_name(r.open.items + i, member):
            return JSON_E_DUPLICATE
    r.open.n += 1
    _space(r)
    if not _take(r, c':'):
        return JSON_E_SYNTAX
    _space(r)
    return _value(r, depth, &member.value)


cdef int _object(Reader* r, int depth) noexcept nogil:
    cdef uint32_t first = r.open.n
    cdef int code
    _space(r)
    if _take(r, c'}'):
        return 0
    while True:
        _space(r)
        code = _member(r, first, depth)
        if code < 0:
            return code
        _space(r)
        if _take(r, c'}'):
            break
        if not _take(r, c','):
            return JSON_E_SYNTAX
    if depth > 1:
        r.open.n = first
    return 0


cdef int json_read(const char* text, uint32_t n, uint32_t members_max, Members* out) noexcept nogil:
    cdef Reader r
    cdef Value whole
    cdef int code
    r.p = <const uint8_t*>text
    r.end = r.p + n
    r.open = out
    r.members_max = members_max
    out.n = 0
    _space(&r)
    code = _value(&r, 0, &whole)
    if code < 0:
        return code
    _space(&r)
    if r.p < r.end:
        return JSON_E_SYNTAX
    return 0 if whole.type == JSON_OBJECT else JSON_E_OBJECT


# From here on the text is well-formed.

cdef inline uint32_t _next(const uint8_t** at) noexcept nogil:
    # the next code point inside a string
    cdef const uint8_t* p = at[0]
    if p[0] < 0x80 and p[0] != c'\\':
        at[0] = p + 1
        return p[0]
    return _next_long(at)


cdef uint32_t _next_long(const uint8_t** at) noexcept nogil:
    cdef const uint8_t* p = at[0]
    cdef uint32_t unit
    if p[0] == c'\\':
        if p[1] != c'u':
            at[0] = p + 2
            return 0x08 if p[1] == c'b' else 0x09 if p[1] == c't' else 0x0A if p[1] == c'n' else 0x0C if p[1] == c'f' else 0x0D if p[1] == c'r' else p[1]
        unit = <uint32_t>_hex4(p + 2)
        at[0] = p + 6
        if 0xD800 <= unit <= 0xDBFF:
            at[0] = p + 12
            return 0x10000 + ((unit - 0xD800) << 10) + (<uint32_t>_hex4(p + 8) - 0xDC00)
        return unit
    if p[0] < 0xE0:
        at[0] = p + 2
        return (p[0] & 0x1F) << 6 | (p[1] & 0x3F)
    if p[0] < 0xF0:
        at[0] = p + 3
        return (p[0] & 0x0F) << 12 | (p[1] & 0x3F) << 6 | (p[2] & 0x3F)
    at[0] = p + 4
    return (p[0] & 0x07) << 18 | (p[1] & 0x3F) << 12 | (p[2] & 0x3F) << 6 | (p[3] & 0x3F)


cdef uint32_t _hash(const Value* name) noexcept nogil:
    # Not keyed: with all hashes equal, reading is slower by the comparison of names, whose number is bounded.
    cdef const uint8_t* p = <const uint8_t*>name.p
    cdef const uint8_t* end = p + name.n
    cdef uint32_t h = 2166136261
    while p < end:
        h = (h ^ _next(&p)) * 16777619
    return h


cdef uint32_t _put(uint32_t point, char* out) noexcept nogil:
    if point < 0x80:
        out[0] = <char>point
        return 1
    if point < 0x800:
        out[0] = <char>(0xC0 | point >> 6)
        out[1] = <char>(0x80 | (point & 0x3F))
        return 2
    if point < 0x10000:
        out[0] = <char>(0xE0 | point >> 12)
        out[1] = <char>(0x80 | (point >> 6 & 0x3F))
        out[2] = <char>(0x80 | (point & 0x3F))
        return 3
    out[0] = <char>(0xF0 | point >> 18)
    out[1] = <char>(0x80 | (point >> 12 & 0x3F))
    out[2] = <char>(0x80 | (point >> 6 & 0x3F))
    out[3] = <char>(0x80 | (point & 0x3F))
    return 4


cdef uint32_t text_copy(const Value* string, char* out) noexcept nogil:
    cdef const uint8_t* p = <const uint8_t*>string.p
    cdef const uint8_t* end = p + string.n
    cdef uint32_t n = 0
    if not string.escaped:
        memcpy(out, string.p, string.n)
        return string.n
    while p < end:
        n += _put(_next(&p), out + n)
    return n


cdef bint text_is(const Value* string, const char* want, uint32_t n) noexcept nogil:
    cdef const uint8_t* p = <const uint8_t*>string.p
    cdef const uint8_t* end = p + string.n
    cdef char point[4]
    cdef uint32_t at = 0, length
    if not string.escaped:
        return string.n == n and memcmp(string.p, want, n) == 0
    while p < end:
        length = _put(_next(&p), point)
        if n - at < length or memcmp(want + at, point, length) != 0:
            return False
        at += length
    return at == n


cdef bint text_has_word(const Value* string, const char* want, uint32_t n) noexcept nogil:
    cdef const uint8_t* p = <const uint8_t*>string.p
    cdef const uint8_t* end = p + string.n
    cdef uint32_t at = 0, point
    cdef bint same = True               # what was read of this word is want[0 .. at)
    while p < end:
        point = _next(&p)
        if point == c' ':
            if same and at == n:
                return True
            at = 0
            same = True
        elif same:
            same = at < n and point == <uint8_t>want[at]
            at += same
    return same and at == n


# Read the value at p; returns what follows it.
cdef const uint8_t* _read(const uint8_t* p, Value* out) noexcept nogil:
    cdef const uint8_t* start = p
    out.escaped = False
    if p[0] == c'"':
        p = _quoted(p + 1, &out.escaped)
        out.type = JSON_STRING
        out.p = <const char*>start + 1
        out.n = <uint32_t>(p - start) - 2
        return p
    if p[0] == c'{' or p[0] == c'[':
        out.type = JSON_OBJECT if p[0] == c'{' else JSON_ARRAY
        p = _nested(p)
    else:
        out.type = JSON_TRUE if p[0] == c't' else JSON_FALSE if p[0] == c'f' else JSON_NULL if p[0] == c'n' else JSON_NUMBER
        while p[0] != c',' and p[0] != c'}' and p[0] != c']' and not KIND[p[0]] & KIND_SPACE:
            p += 1
    out.p = <const char*>start
    out.n = <uint32_t>(p - start)
    return p


cdef const uint8_t* _quoted(const uint8_t* p, bint* escaped) noexcept nogil:
    while p[0] != c'"':
        if p[0] == c'\\':
            escaped[0] = True
            p += 1
        p += 1
    return p + 1


cdef const uint8_t* _nested(const uint8_t* p) noexcept nogil:
    cdef bint escaped
    cdef int depth = 0
    while True:
        if p[0] == c'"':
            p = _quoted(p + 1, &escaped)
            continue
        if p[0] == c'{' or p[0] == c'[':
            depth += 1
        elif p[0] == c'}' or p[0] == c']':
            depth -= 1
        p += 1
        if depth == 0:
            return p


cdef const uint8_t* _gap(const uint8_t* p) noexcept nogil:
    while KIND[p[0]] & KIND_SPACE or p[0] == c',' or p[0] == c':':
        p += 1
    return p


cdef bint json_element(const char** at, Value* out) noexcept nogil:
    cdef const uint8_t* p = _gap(<const uint8_t*>at[0])
    if p[0] == c']':
        return False
    at[0] = <const char*>_read(p, out)
    return True


# How much of path[0 .. n) this member's name is: n for all of it, its own length when a '.' follows, else 0.
cdef uint32_t _part(const Value* name, const char* path, uint32_t n) noexcept nogil:
    cdef uint32_t i
    if text_is(name, path, n):
        return n
    for i in range(n - 1, 0, -1):
        if path[i] == c'.' and text_is(name, path, i):
            return i
    return 0


cdef void json_find(const Value* object, const char* path, uint32_t n, Value* out) noexcept nogil:
    cdef Value inside = object[0], name, value, best
    cdef const uint8_t* p
    cdef uint32_t part, longest
    out.type = JSON_ABSENT
    while n > 0 and inside.type == JSON_OBJECT:
        longest = 0
        p = _gap(<const uint8_t*>inside.p + 1)
        while p[0] != c'}':
            p = _gap(_read(_gap(_read(p, &name)), &value))
            part = _part(&name, path, n)
            if part > longest:
                longest = part
                best = value
        if longest == n:
            out[0] = best
            return
        if longest == 0:
            return
        inside = best
        path += longest + 1
        n -= longest + 1


cdef int64_t _exponent(const char* p, const char* end) noexcept nogil:
    # from the 'e' on; beyond a million it makes no difference
    cdef int64_t exponent = 0
    cdef bint minus = False
    p += 1
    while p < end:
        if p[0] == c'-':
            minus = True
        elif p[0] != c'+':
            exponent = min(exponent * 10 + (p[0] - 48), <int64_t>1000000)
        p += 1
    return -exponent if minus else exponent


cdef bint number_date(const Value* number, int64_t* out) noexcept nogil:
    cdef const char* p = number.p
    cdef const char* end = p + number.n
    cdef const char* mark = p           # end of the mantissa
    cdef const char* dot
    cdef int64_t point, i = 0, first = -1, digit, seconds = 0       # i counts digits; the first `point` of them stand before the point
    cdef bint rest = False
    if p[0] == c'-':
        return False
    while mark < end and mark[0] != c'e' and mark[0] != c'E':
        mark += 1
    dot = <const char*>memchr(p, c'.', mark - p)
    point = (dot if dot != NULL else mark) - p + _exponent(mark, end)
    while p < mark:
        if p == dot:
            p += 1
            continue
        digit = p[0] - 48
        if digit != 0 and first < 0:
            first = i
        if i < point:
            seconds = min(seconds * 10 + digit, <int64_t>DATE_MAX)
        elif digit != 0:
            rest = True
        i += 1
        p += 1
    if first >= 0 and point - first > 308:
        return False
    while i < point and 0 < seconds < DATE_MAX:
        seconds = min(seconds * 10, <int64_t>DATE_MAX)
        i += 1
    out[0] = min(seconds + rest, <int64_t>DATE_MAX)
    return True
