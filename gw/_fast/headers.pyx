from libc.string cimport memcpy, memset

NAMES = (
    "", "host", "content-length", "transfer-encoding", "expect",
    "connection", "keep-alive", "proxy-connection", "te", "upgrade", "http2-settings",
    "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "x-forwarded-",
    "via", "trailer", "date", "authorization", "cookie",
)

cdef enum: NAME_MAX = 24

cdef struct Name:
    uint8_t len
    uint8_t id
    char text[24]

cdef Name _table[256]       # perfect hash over NAMES, found at import
cdef uint32_t _lengths[256]     # by folded first byte: bit n is set when a known name of n bytes starts with it
cdef uint32_t _mul_first
cdef uint32_t _mul_last
cdef uint8_t VALUE[256]     # 1 for bytes a field value may hold


cdef inline uint32_t _slot(const char* name, uint32_t n, uint32_t mul_first, uint32_t mul_last) noexcept nogil:
    return (n * 7 + FOLD[<uint8_t>name[0]] * mul_first + FOLD[<uint8_t>name[n - 1]] * mul_last) & 255


def _fill_tables():
    global _mul_first, _mul_last
    cdef int i, first, last
    cdef bytes raw
    for i in range(256):
        FOLD[i] = i + 32 if 65 <= i <= 90 else (45 if i == 95 else i)
        TOKEN[i] = 1 if chr(i) in "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" else 0
        VALUE[i] = 0 if (i < 32 and i != 9) or i == 127 else 1
    names = [name.encode() for name in NAMES[1:] if name != "x-forwarded-"]
    for first in range(1, 256):
        for last in range(1, 256):
            if len({_slot(raw, len(raw), first, last) for raw in names}) == len(names):
                _mul_first = first
                _mul_last = last
                _store(names)
                return
    raise AssertionError("no perfect hash over the known field names")


def _store(names):
    cdef uint32_t slot
    cdef bytes raw
    memset(_table, 0, sizeof(_table))
    memset(_lengths, 0, sizeof(_lengths))
    for raw in names:
        _lengths[raw[0]] |= 1 << len(raw)
        slot = _slot(raw, len(raw), _mul_first, _mul_last)
        _table[slot].len = len(raw)
        _table[slot].id = NAMES.index(raw.decode())
        memcpy(_table[slot].text, <char*>raw, len(raw))


_fill_tables()


cdef bint same_name(const char* a, const char* b, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(n):
        if FOLD[<uint8_t>a[i]] != FOLD[<uint8_t>b[i]]:
            return False
    return True


cdef bint same_token(const char* a, const char* lower, uint32_t n) noexcept nogil:
    cdef uint32_t i
    cdef uint8_t c
    for i in range(n):
        c = <uint8_t>a[i]
        if 65 <= c <= 90:
            c += 32
        if c != <uint8_t>lower[i]:
            return False
    return True


cdef inline uint64_t _eight(const char* at) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, at, 8)
    return word | <uint64_t>0x2020202020202020ULL


cdef inline uint32_t _four(const char* at) noexcept nogil:
    cdef uint32_t word
    memcpy(&word, at, 4)
    return word | 0x20202020


cdef inline bint _is_known(const char* name, const Name* known, uint32_t n) noexcept nogil:
    """Equal but for case, in words that overlap. Exact for tokens: setting 32 makes no other tchar a letter or '-'."""
    if n >= 8:
        return _eight(name) == _eight(known.text) and _eight(name + n - 8) == _eight(known.text + n - 8) and (n <= 16 or _eight(name + 8) == _eight(known.text + 8))
    if n >= 4:
        return _four(name) == _four(known.text) and _four(name + n - 4) == _four(known.text + n - 4)
    return same_name(name, known.text, n)


cdef uint8_t _classify(const char* name, uint32_t n, uint8_t* flags) noexcept nogil:
    cdef const Name* known
    cdef uint32_t i
    cdef uint8_t differs = 0, spelled = 0
    if n == 0 or n > NAME_MAX or not _lengths[FOLD[<uint8_t>name[0]]] >> n & 1:
        return _forwarding(name, n)
    known = &_table[_slot(name, n, _mul_first, _mul_last)]
    if known.len != n:
        return _forwarding(name, n)
    if _is_known(name, known, n):
        return known.id
    for i in range(n):
        differs |= FOLD[<uint8_t>name[i]] ^ <uint8_t>known.text[i]
        spelled |= name[i] == c"_"
    if differs or not spelled:
        return _forwarding(name, n)
    flags[0] |= FIELD_SPELLED | FIELD_DROP
    return H_OTHER


cdef inline uint8_t _forwarding(const char* name, uint32_t n) noexcept nogil:
    if n >= 12 and (name[0] | 32) == c"x" and same_name(name, b"x-forwarded-", 12):
        return H_X_FORWARDED_OTHER
    return H_OTHER


cdef void head_classify(Head* head) noexcept nogil:
    cdef uint32_t i
    cdef Field* field
    for i in range(head.n_fields):
        field = &head.fields[i]
        field.flags = 0
        field.id = _classify(head.base + field.name, field.name_len, &field.flags)


cdef int head_find(const Head* head, const char* name, uint32_t name_len, uint32_t start) noexcept nogil:
    cdef uint32_t i
    for i in range(start, head.n_fields):
        if head.fields[i].name_len == name_len and not head.fields[i].flags & FIELD_SPELLED and same_token(head.base + head.fields[i].name, name, name_len):
            return i
    return -1


cdef int head_find_id(const Head* head, uint8_t id, uint32_t start) noexcept nogil:
    cdef uint32_t i
    for i in range(start, head.n_fields):
        if head.fields[i].id == id:
            return i
    return -1


# RFC 9110 section 6.5.1: nothing that modifies, authenticates or describes the message already acted upon, in lower case, comma-separated.
cdef char* NO_TRAILERS = (b",content-encoding,content-type,content-range,"
                          b"cache-control,max-forwards,pragma,range,if-match,if-none-match,if-modified-since,if-unmodified-since,if-range,"
                          b"www-authenticate,proxy-authenticate,proxy-authorization,set-cookie,age,expires,location,retry-after,vary,warning,")


cdef bint _may_trail(const char* name, uint32_t n, uint8_t id, uint8_t flags) noexcept nogil:
    cdef const char* entry = NO_TRAILERS
    cdef uint32_t i
    if flags & FIELD_SPELLED or id not in (H_OTHER, H_DATE, H_VIA):
        return False
    while entry[1] != 0:
        i = 0
        while i < n and FOLD[<uint8_t>name[i]] == <uint8_t>entry[1 + i]:
            i += 1
        if i == n and entry[1 + i] == c",":
            return False
        entry += 1
        while entry[0] != c",":
            entry += 1
    return True


cdef int head_parse_trailers(const char* data, uint32_t n, char* out) noexcept nogil:
    cdef uint32_t at = 0
    cdef uint32_t line, name_end
    cdef uint32_t written = 0
    cdef uint8_t flags, id
    while at < n:
        line = at
        while at < n and TOKEN[<uint8_t>data[at]]:
            at += 1
        name_end = at
        if name_end == line or at >= n or data[at] != c":":
            return -1
        at += 1
        while at < n and VALUE[<uint8_t>data[at]]:
            at += 1
        if at + 1 >= n or data[at] != c"\r" or data[at + 1] != c"\n":
            return -1
        at += 2
        flags = 0
        id = _classify(data + line, name_end - line, &flags)
        if _may_trail(data + line, name_end - line, id, flags):
            memcpy(out + written, data + line, at - line)
            written += at - line
    return written


def classify(name: bytes) -> str:
    """The known name that gw takes this field name for, with '!' in front when it is only spelled like it; '' when unknown."""
    cdef uint8_t flags = 0
    cdef uint8_t found
    if len(name) == 0:
        return ""
    found = _classify(name, len(name), &flags)
    return "!" if flags & FIELD_SPELLED else NAMES[found]
