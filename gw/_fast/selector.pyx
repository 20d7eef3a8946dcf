cimport cython
from hashlib import blake2b
from ipaddress import ip_address
from urllib.parse import quote

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int32_t
from libc.string cimport memchr, memcmp, memcpy

from gw._fast.claims cimport JSON_NUMBER, JSON_OBJECT, JSON_STRING, json_find
from gw._fast.claims cimport Value as JsonValue
from gw._fast.forward cimport client_ip
from gw._fast.hash cimport hash_key
from gw._fast.headers cimport H_COOKIE, Field, head_find, head_find_id
from gw._fast.predicate cimport query_decode, query_equals

cdef enum:
    VALUE_MAX = 2048            # bytes of a query value; a longer one is missing
    TEXT_MAX = 256              # characters of a key as text

cdef bytes MISSING = b"-"
cdef str SAFE = "/:@!$&'()*+,;=?"

cdef const char* MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"      # IPv4 in IPv6 (RFC 4291 section 2.5.5.2)


cdef struct Value:              # found once, or not at all, or too often
    const char* text
    uint32_t len
    uint32_t times


cdef inline void note(Value* value, const char* text, uint32_t n) noexcept nogil:
    value.text = text
    value.len = n
    value.times += 1


cdef bint add(Hash* key, const void* text, size_t n) noexcept nogil:
    key[0] = hash_key(<const char*>text, n, key[0])
    return True


cdef uint32_t cut(uint8_t* address, uint32_t n, uint32_t bits) noexcept nogil:
    cdef uint32_t i
    for i in range(bits // 8, n):
        address[i] &= <uint8_t>(0xff00 >> bits % 8) if i == bits // 8 else 0
    return n


cdef uint32_t client_prefix(const SelectorPart* part, Exchange* x, uint8_t* address) noexcept nogil:
    """Bytes of the client's address, 4 or 16, in `address`; 0 where it has none."""
    if not client_ip(x, address):
        return 0
    if memcmp(address, MAPPED, 12) == 0:
        memcpy(address, address + 12, 4)
        return cut(address, 4, part.bits4)
    return cut(address, 16, part.bits6)


cdef bint add_client(Hash* key, const SelectorPart* part, Exchange* x) noexcept nogil:
    cdef uint8_t address[16]
    cdef uint32_t n = client_prefix(part, x, address)
    return n > 0 and add(key, address, n)


cdef void find_header(Value* value, const SelectorPart* part, Exchange* x) noexcept nogil:
    cdef int index = head_find(&x.head, part.name, part.name_len, 0)
    while index >= 0:
        note(value, x.head.base + x.head.fields[index].value, x.head.fields[index].value_len)
        index = head_find(&x.head, part.name, part.name_len, index + 1)


cdef inline uint32_t until(const char* text, uint32_t at, uint32_t end, char mark) noexcept nogil:
    cdef const char* found = <const char*>memchr(text + at, mark, end - at)
    return end if found == NULL else <uint32_t>(found - text)


cdef inline uint32_t trimmed(const char* text, uint32_t at, uint32_t end) noexcept nogil:
    while end > at and (text[end - 1] == c" " or text[end - 1] == c"\t"):
        end -= 1
    return end - at


cdef void find_in_cookies(Value* value, const SelectorPart* part, const char* text, uint32_t n) noexcept nogil:
    """RFC 6265 section 4.2.1: name=value pairs, each after `; ` but for the first."""
    cdef uint32_t at = 0, end, equals
    while at < n:
        end = until(text, at, n, c";")
        while at < end and (text[at] == c" " or text[at] == c"\t"):
            at += 1
        equals = until(text, at, end, c"=")
        if equals < end and equals - at == part.name_len and memcmp(text + at, part.name, part.name_len) == 0:
            note(value, text + equals + 1, trimmed(text, equals + 1, end))
        at = end + 1


cdef void find_cookie(Value* value, const SelectorPart* part, Exchange* x) noexcept nogil:
    cdef int index = head_find_id(&x.head, H_COOKIE, 0)
    cdef const Field* field
    while index >= 0:
        field = &x.head.fields[index]
        find_in_cookies(value, part, x.head.base + field.value, field.value_len)
        index = head_find_id(&x.head, H_COOKIE, index + 1)


cdef void find_claim(Value* value, const SelectorPart* part, Exchange* x) noexcept nogil:
    """A string or a number, as written."""
    cdef JsonValue claims, found
    claims.p = x.identity.claims
    claims.n = x.identity.claims_len
    claims.type = JSON_OBJECT
    json_find(&claims, part.name, part.name_len, &found)
    if found.type == JSON_STRING or found.type == JSON_NUMBER:
        note(value, found.p, found.n)


cdef int32_t decode_parameter(const SelectorPart* part, const char* query, uint32_t n, char* decoded) noexcept nogil:
    """Length of the value, -1 when it is missing."""
    cdef uint32_t at = 0, end, equals
    cdef Value value = Value(NULL, 0, 0)
    while at < n:
        end = until(query, at, n, c"&")
        equals = until(query, at, end, c"=")
        if query_equals(query + at, equals - at, part.name, part.name_len):
            note(&value, query + min(equals + 1, end), end - min(equals + 1, end))
        at = end + 1
    return -1 if value.times != 1 or value.len > VALUE_MAX else <int32_t>query_decode(value.text, value.len, decoded)


cdef bint add_query(Hash* key, const SelectorPart* part, const char* query, uint32_t n) noexcept nogil:
    cdef char decoded[VALUE_MAX]
    cdef int32_t length = decode_parameter(part, query, n, decoded)
    return length >= 0 and add(key, decoded, length)


cdef void find_value(Value* value, const SelectorPart* part, Exchange* x) noexcept nogil:
    """Of all kinds but addresses and query parameters."""
    if part.kind == KEY_HEADER:
        find_header(value, part, x)
    elif part.kind == KEY_COOKIE:
        find_cookie(value, part, x)
    elif part.kind == KEY_ROUTE:
        note(value, x.plan.name, x.plan.name_len)
    elif part.kind == KEY_SERVICE and x.plan.service != NULL:
        note(value, x.plan.service.name, x.plan.service.name_len)
    elif part.kind == KEY_HOST and x.host_len:
        note(value, x.host, x.host_len)
    elif part.kind == KEY_PATH and x.path_len:
        note(value, x.path, x.path_len)
    elif part.kind == KEY_CONSUMER and x.identity.consumer != NULL:
        note(value, x.identity.consumer.name, x.identity.consumer.name_len)
    elif part.kind == KEY_CREDENTIAL and x.identity.credential_len:
        note(value, x.identity.credential, x.identity.credential_len)
    elif part.kind == KEY_CLAIM and x.identity.claims != NULL:
        find_claim(value, part, x)


cdef bint add_part(Hash* key, const SelectorPart* part, Exchange* x) noexcept nogil:
    cdef Value value = Value(NULL, 0, 0)
    if part.kind == KEY_IP:
        return add_client(key, part, x)
    if part.kind == KEY_QUERY:
        return add_query(key, part, x.head.base + x.query.off, x.query.len)
    find_value(&value, part, x)
    return value.times == 1 and add(key, value.text, value.len)


cdef bint selector_key(const SelectorPart* parts, uint32_t n, Exchange* x, Hash seed, Hash* key) noexcept nogil:
    cdef uint32_t i
    cdef bint whole = True
    key[0] = seed
    for i in range(n):
        if not add_part(key, parts + i, x):
            key.lo = ~key.lo                # so that an absent value is not an empty one
            add(key, b"", 0)
            whole = False
    return whole


# Python

cdef object value_of(const SelectorPart* part, Exchange* x):
    """Bytes, None when it is missing."""
    cdef Value value = Value(NULL, 0, 0)
    cdef char decoded[VALUE_MAX]
    cdef uint8_t address[16]
    cdef int32_t n
    if part.kind == KEY_IP:
        n = client_prefix(part, x, address)
        if n == 0:
            return None
        bits = part.bits4 if n == 4 else part.bits6
        return (str(ip_address(address[:n])) + (f"/{bits}" if bits < 8 * n else "")).encode()
    if part.kind == KEY_QUERY:
        n = decode_parameter(part, x.head.base + x.query.off, x.query.len, decoded)
        return None if n < 0 else decoded[:n]
    find_value(&value, part, x)
    return value.text[:value.len] if value.times == 1 else None


cdef str selector_text(const SelectorPart* parts, uint32_t n, Exchange* x):
    cdef uint32_t i
    cdef list values = [value_of(parts + i, x) for i in range(n)]
    text = " ".join(["-" if value is None else "%2D" if value == MISSING else quote(value, SAFE) for value in values])
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX - 34]}..{blake2b(text.encode(), digest_size=16).hexdigest()}"


ALONE = {"route": KEY_ROUTE, "service": KEY_SERVICE, "host": KEY_HOST, "path": KEY_PATH, "consumer": KEY_CONSUMER, "credential": KEY_CREDENTIAL}
NAMED = {"header": KEY_HEADER, "cookie": KEY_COOKIE, "query": KEY_QUERY, "claim": KEY_CLAIM}


cdef tuple prefixes(str text):
    kind, slash, bits = text.partition("/")
    if kind == "ip" and not slash:
        return 32, 64
    if kind == "ip" and bits.isascii() and bits.isdigit() and 1 <= int(bits) <= 128:
        return (int(bits), 64) if int(bits) <= 32 else (32, int(bits))
    raise ValueError(f"'{text}' is nothing a limit can count by; expected ip, ip/PREFIX from 1 to 128, {', '.join(ALONE)}, {', '.join(f'{name}:NAME' for name in NAMED)}")


cdef bytes parse(SelectorPart* part, str text):
    """Fill the part; the name it points into."""
    cdef bytes name = b""
    kind, colon, rest = text.partition(":")
    if kind in NAMED and rest:
        name = (rest.lower() if kind == "header" else rest).encode()
        part.kind = NAMED[kind]
    elif kind in ALONE and not colon:
        part.kind = ALONE[kind]
    else:
        part.kind = KEY_IP
        part.bits4, part.bits6 = prefixes(text)
    part.name = PyBytes_AS_STRING(name)
    part.name_len = <uint32_t>len(name)
    return name


@cython.final
cdef class Selector:
    def __cinit__(self, by):
        texts = [by] if isinstance(by, str) else by
        if not 1 <= len(texts) <= PARTS_MAX:
            raise ValueError(f"a limit counts by 1 to {PARTS_MAX} parts of a request, not {len(texts)}")
        self.names = []
        for text in texts:
            self.names.append(parse(&self.parts[self.n], text))
            self.n += 1
