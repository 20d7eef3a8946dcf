"""Bearer tokens: split, verify, judge the claims. The signature is verified before anything of the payload is read."""
import json

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp, memset

from gw._fast.claims cimport *
from gw._fast.keys cimport (
    ALG_NONE,
    ALGORITHM_NAME_MAX,
    Key,
    KeySet,
    KeySetState,
    SIGNATURE_MAX,
    algorithm_fits,
    algorithm_named,
    key_verify,
)

cdef enum:
    HEADER_MEMBERS_MAX = 64     # the registered parameters are 13, and those of a jwk about as many
    TRIES_MAX = 8               # keys tried for one token
    TYPE_MAX = 128              # octets of a `typ`
    TOKEN_BYTES_MIN = 64
    TOKEN_BYTES_MAX = 1 << 20

cdef const char* ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
cdef enum: FOREIGN = 0x80       # in SIXBIT: not a base64url octet
cdef uint8_t SIXBIT[256]        # value of a base64url octet


cdef void _fill_table():
    cdef int i
    memset(SIXBIT, FOREIGN, sizeof(SIXBIT))
    for i in range(64):
        SIXBIT[<uint8_t>ALPHABET[i]] = <uint8_t>i


_fill_table()


cdef struct Parts:
    const char* header
    const char* payload
    const char* signature
    uint32_t n_header, n_payload, n_signature


cdef struct Header:             # what it says; the Values point into the decoded header
    int alg                     # ALG_*
    Value kid
    Value typ


# Decode base64url without padding (RFC 7515 section 2); out has room for n / 4 * 3 + 2. Octets written, or -1: a foreign octet, white space,
# padding, a length that no encoder makes, or bits behind the last octet that are not zero, so that two texts would mean the same.
cdef int64_t _base64url(const char* text, uint32_t n, char* out) noexcept nogil:
    cdef const uint8_t* p = <const uint8_t*>text
    cdef const uint8_t* whole = p + n // 4 * 4
    cdef char* start = out
    cdef uint32_t a, b, c, d, bad = 0
    while p < whole:
        a, b, c, d = SIXBIT[p[0]], SIXBIT[p[1]], SIXBIT[p[2]], SIXBIT[p[3]]
        bad |= a | b | c | d
        out[0] = <char>(a << 2 | b >> 4)
        out[1] = <char>(b << 4 | c >> 2)
        out[2] = <char>(c << 6 | d)
        p += 4
        out += 3
    if n % 4 == 1 or bad & FOREIGN:
        return -1
    if n % 4 == 0:
        return out - start
    a, b, c = SIXBIT[p[0]], SIXBIT[p[1]], SIXBIT[p[2]] if n % 4 == 3 else 0
    out[0] = <char>(a << 2 | b >> 4)
    out[1] = <char>(b << 4 | c >> 2)
    if (a | b | c) & FOREIGN or (b & 15 if n % 4 == 2 else c & 3):
        return -1
    return out + n % 4 - 1 - start


cdef bint _split(const char* token, uint32_t n, Parts* parts) noexcept nogil:
    cdef const char* end = token + n
    cdef const char* first = <const char*>memchr(token, c'.', n)
    cdef const char* second = <const char*>memchr(first + 1, c'.', end - first - 1) if first != NULL else NULL
    if second == NULL or memchr(second + 1, c'.', end - second - 1) != NULL:
        return False
    parts.header = token
    parts.payload = first + 1
    parts.signature = second + 1
    parts.n_header = <uint32_t>(first - token)
    parts.n_payload = <uint32_t>(second - parts.payload)
    parts.n_signature = <uint32_t>(end - parts.signature)
    return True


cdef int _json_code(int code, int otherwise) noexcept nogil:
    if code == JSON_E_UTF8:
        return TOKEN_E_UTF8
    if code == JSON_E_DEPTH:
        return TOKEN_E_DEPTH
    if code == JSON_E_DUPLICATE:
        return TOKEN_E_DUPLICATE
    return TOKEN_E_MEMBERS if code == JSON_E_MEMBERS else otherwise


cdef inline bint _is(const Value* name, const char* want, uint32_t n) noexcept nogil:
    return (name.n == n or name.escaped) and text_is(name, want, n)


cdef int _parameter(const Member* m, Header* header) noexcept nogil:
    cdef char text[6 * ALGORITHM_NAME_MAX]
    if _is(&m.name, b"alg", 3):
        if m.value.type != JSON_STRING:
            return TOKEN_E_HEADER
        if m.value.n <= sizeof(text):       # room for a name written in escapes only
            header.alg = algorithm_named(text, text_copy(&m.value, text))
    elif _is(&m.name, b"kid", 3) or _is(&m.name, b"typ", 3):
        if m.value.type != JSON_STRING:
            return TOKEN_E_HEADER
        if _is(&m.name, b"kid", 3):
            header.kid = m.value
        else:
            header.typ = m.value
    elif _is(&m.name, b"crit", 4):
        return TOKEN_E_CRIT
    elif _is(&m.name, b"b64", 3) and m.value.type != JSON_TRUE:
        return TOKEN_E_UNENCODED
    elif _is(&m.name, b"zip", 3):
        return TOKEN_E_ZIP
    return 0


# Read the decoded header. What it says of where keys are (jwk, jku, x5u, x5c) is not even looked at.
cdef int _read_header(const char* text, uint32_t n, Members* members, Header* header) noexcept nogil:
    cdef uint32_t i
    cdef int code = json_read(text, n, HEADER_MEMBERS_MAX, members)
    if code < 0:
        return _json_code(code, TOKEN_E_HEADER)
    header.alg = ALG_NONE
    header.kid.type = JSON_ABSENT
    header.typ.type = JSON_ABSENT
    for i in range(members.n):
        code = _parameter(members.items + i, header)
        if code < 0:
            return code
    return TOKEN_E_ALGORITHM if header.alg == ALG_NONE else 0


# RFC 7515 section 4.1.9: without regard to case, and "application/" may be left out.
cdef bint _type_accepted(const Rules* rules, const Value* typ) noexcept nogil:
    cdef char text[TYPE_MAX]
    cdef Value plain
    cdef uint32_t i
    if rules.n_types == 0:
        return True
    if typ.type == JSON_ABSENT or typ.n > TYPE_MAX:
        return False
    plain.n = text_copy(typ, text)
    plain.p = text
    plain.escaped = False
    for i in range(plain.n):
        if c'A' <= text[i] <= c'Z':
            text[i] += 32
    if plain.n > 12 and memcmp(text, b"application/", 12) == 0:
        plain.p += 12
        plain.n -= 12
    return _one_of(rules.types, rules.n_types, &plain)


# Verify with every key that the header can mean.
cdef int _verify(const KeySetState* keys, const Header* header, const Parts* parts, const unsigned char* signature, uint32_t n, uint32_t* which) noexcept nogil:
    cdef uint32_t i, tries = 0
    cdef bint known = keys.n > 0 and (header.kid.type == JSON_ABSENT or keys.n_named == 0)     # else newer keys may have that kid
    cdef Key* key
    for i in range(keys.n):
        key = keys.keys + i
        if key.kid != NULL and header.kid.type == JSON_STRING:
            if not text_is(&header.kid, key.kid, key.kid_n):
                continue
            known = True
        if not algorithm_fits(header.alg, key.alg):
            continue
        tries += 1
        if tries > TRIES_MAX:
            return TOKEN_E_NO_KID
        if key_verify(key, parts.header, parts.n_header + 1 + parts.n_payload, signature, n):
            which[0] = i
            return 0
    if tries > 0:
        return TOKEN_E_SIGNATURE
    return TOKEN_E_ALGORITHM if known else TOKEN_E_UNKNOWN_KID


# Everything up to the signature. On success out.payload is set; its JSON has not been read.
cdef int _verified(const KeySetState* keys, const Rules* rules, const char* token, uint32_t n, Members* members, TokenOut* out) noexcept nogil:
    cdef unsigned char signature[SIGNATURE_MAX + 4]
    cdef Parts parts
    cdef Header header
    cdef int64_t length, n_signature
    cdef int code
    if not _split(token, n, &parts):
        return TOKEN_E_MALFORMED
    out.payload = <char*>malloc(<size_t>max(parts.n_header, parts.n_payload) + 4)
    if out.payload == NULL:
        return TOKEN_E_MEMORY
    length = _base64url(parts.header, parts.n_header, out.payload)
    if length < 0:
        return TOKEN_E_BASE64
    code = _read_header(out.payload, <uint32_t>length, members, &header)
    if code < 0:
        return code
    if not _type_accepted(rules, &header.typ):
        return TOKEN_E_TYPE
    if parts.n_signature > SIGNATURE_MAX // 3 * 4 + 2:
        return TOKEN_E_SIGNATURE
    n_signature = _base64url(parts.signature, parts.n_signature, <char*>signature)
    if n_signature < 0:
        return TOKEN_E_BASE64
    code = _verify(keys, &header, &parts, signature, <uint32_t>n_signature, &out.key)
    if code < 0:
        return code
    length = _base64url(parts.payload, parts.n_payload, out.payload)
    if length < 0:
        return TOKEN_E_BASE64
    out.n = <uint32_t>length
    out.payload[length] = 0
    return 0


cdef struct Claims:             # JSON_ABSENT where there is none
    Value iss
    Value aud
    Value exp
    Value nbf
    Value iat
    Value sub
    Value scope
    Value scp


cdef void _note(const Member* m, Claims* claims) noexcept nogil:
    if _is(&m.name, b"iss", 3):
        claims.iss = m.value
    elif _is(&m.name, b"aud", 3):
        claims.aud = m.value
    elif _is(&m.name, b"exp", 3):
        claims.exp = m.value
    elif _is(&m.name, b"nbf", 3):
        claims.nbf = m.value
    elif _is(&m.name, b"iat", 3):
        claims.iat = m.value
    elif _is(&m.name, b"sub", 3):
        claims.sub = m.value
    elif _is(&m.name, b"scope", 5):
        claims.scope = m.value
    elif _is(&m.name, b"scp", 3):
        claims.scp = m.value


cdef bint _one_of(const Text* wanted, uint32_t n, const Value* string) noexcept nogil:
    cdef uint32_t i
    for i in range(n):
        if text_is(string, wanted[i].p, wanted[i].n):
            return True
    return False


# A string or an array of nothing but strings.
cdef bint _strings(const Value* value) noexcept nogil:
    cdef const char* at = value.p + 1
    cdef Value element
    if value.type != JSON_ARRAY:
        return value.type == JSON_STRING
    while json_element(&at, &element):
        if element.type != JSON_STRING:
            return False
    return True


# Set date[0] from a claim that is there. False: it is no NumericDate.
cdef inline bint _date(const Value* claim, int64_t* date) noexcept nogil:
    return claim.type == JSON_ABSENT or (claim.type == JSON_NUMBER and number_date(claim, date))


cdef inline bint _text(const Value* claim) noexcept nogil:
    return claim.type == JSON_ABSENT or claim.type == JSON_STRING


cdef bint _aud_accepted(const Rules* rules, const Value* aud) noexcept nogil:
    cdef const char* at = aud.p + 1
    cdef Value element
    if aud.type == JSON_STRING:
        return _one_of(rules.audiences, rules.n_audiences, aud)
    while json_element(&at, &element):
        if _one_of(rules.audiences, rules.n_audiences, &element):
            return True
    return False


# RFC 8693 section 4.2 has one string with spaces; some issuers send an array.
cdef bint _has_scope(const Value* scope, const Text* want) noexcept nogil:
    cdef const char* at = scope.p + 1
    cdef Value element
    if scope.type == JSON_STRING:
        return text_has_word(scope, want.p, want.n)
    while json_element(&at, &element):
        if text_is(&element, want.p, want.n):
            return True
    return False


cdef int _identity(const Rules* rules, const Claims* claims, const TokenOut* out) noexcept nogil:
    cdef Value value
    cdef uint32_t i
    if rules.n_issuers > 0:
        if claims.iss.type == JSON_ABSENT:
            return TOKEN_E_CLAIM_MISSING
        if not _one_of(rules.issuers, rules.n_issuers, &claims.iss):
            return TOKEN_E_ISSUER
    if rules.n_audiences > 0:
        if claims.aud.type == JSON_ABSENT:
            return TOKEN_E_CLAIM_MISSING
        if not _aud_accepted(rules, &claims.aud):
            return TOKEN_E_AUDIENCE
    for i in range(rules.n_required):
        json_find(&out.claims, rules.required[i].p, rules.required[i].n, &value)
        if value.type == JSON_ABSENT or value.type == JSON_NULL:
            return TOKEN_E_CLAIM_MISSING
    for i in range(rules.n_scopes):
        if out.scope.type == JSON_ABSENT or not _has_scope(&out.scope, rules.scopes + i):
            return TOKEN_E_SCOPE
    return 0


cdef int token_time(const TokenOut* out, const Rules* rules, int64_t wall_s) noexcept nogil:
    if wall_s - rules.leeway_s >= out.exp_s:
        return TOKEN_E_EXPIRED
    return TOKEN_E_NOT_YET if wall_s + rules.leeway_s < out.nbf_s else TOKEN_OK


cdef int _judge(const Rules* rules, int64_t wall_s, Members* members, TokenOut* out) noexcept nogil:
    cdef Claims claims
    cdef int64_t iat = -DATE_MAX
    cdef uint32_t i
    cdef int code = json_read(out.payload, out.n, JSON_MEMBERS_MAX, members)
    if code < 0:
        return _json_code(code, TOKEN_E_PAYLOAD)
    memset(&claims, 0, sizeof(claims))
    for i in range(members.n):
        _note(members.items + i, &claims)
    out.exp_s = DATE_MAX
    out.nbf_s = -DATE_MAX
    if not (_date(&claims.exp, &out.exp_s) and _date(&claims.nbf, &out.nbf_s) and _date(&claims.iat, &iat)):
        return TOKEN_E_CLAIM_TYPE
    if not (_text(&claims.iss) and _text(&claims.sub) and (claims.aud.type == JSON_ABSENT or _strings(&claims.aud))):
        return TOKEN_E_CLAIM_TYPE
    out.scope = claims.scope if claims.scope.type != JSON_ABSENT else claims.scp
    if out.scope.type != JSON_ABSENT and not _strings(&out.scope):
        return TOKEN_E_CLAIM_TYPE
    if rules.require_exp and claims.exp.type == JSON_ABSENT:
        return TOKEN_E_CLAIM_MISSING
    code = token_time(out, rules, wall_s)
    if code < 0:
        return code
    if wall_s + rules.leeway_s < iat:
        return TOKEN_E_ISSUED_LATER
    out.sub = claims.sub
    out.claims.p = <const char*>memchr(out.payload, c'{', out.n)
    out.claims.n = <uint32_t>(out.payload + out.n - out.claims.p)
    out.claims.type = JSON_OBJECT
    out.claims.escaped = False
    return _identity(rules, &claims, out)


cdef int token_check(const KeySetState* keys, const Rules* rules, const char* token, uint32_t n, int64_t wall_s, TokenOut* out) noexcept nogil:
    cdef Members members
    cdef int code
    if n > rules.max_bytes:
        return TOKEN_E_TOO_LARGE
    out.payload = NULL
    code = _verified(keys, rules, token, n, &members, out)
    if code == 0:
        code = _judge(rules, wall_s, &members, out)
    if code < 0:
        token_clear(out)
    return code


cdef void token_clear(TokenOut* out) noexcept nogil:
    free(out.payload)
    out.payload = NULL


cdef struct Verdict:
    const char* name
    const char* reason


cdef Verdict VERDICTS[1 - TOKEN_E_MEMORY]


cdef void _verdict(int code, const char* name, const char* reason):
    VERDICTS[-code].name = name
    VERDICTS[-code].reason = reason


_verdict(TOKEN_OK, b"ok", b"The token is good")
_verdict(TOKEN_E_TOO_LARGE, b"too-large", b"The token is larger than this gateway accepts")
_verdict(TOKEN_E_MALFORMED, b"malformed", b"The token is not three parts joined by dots")
_verdict(TOKEN_E_BASE64, b"base64", b"A part of the token is not base64url without padding")
_verdict(TOKEN_E_HEADER, b"header", b"The token's header is not a JSON object, or a parameter in it has the wrong type")
_verdict(TOKEN_E_PAYLOAD, b"payload", b"The token's payload is not a JSON object")
_verdict(TOKEN_E_UTF8, b"utf-8", b"The token holds text that is not UTF-8")
_verdict(TOKEN_E_DEPTH, b"depth", b"The token's JSON is nested too deeply")
_verdict(TOKEN_E_DUPLICATE, b"duplicate-member", b"The token's JSON has two members with the same name")
_verdict(TOKEN_E_MEMBERS, b"members", b"The token's JSON has too many members")
_verdict(TOKEN_E_CRIT, b"crit", b"The token demands an extension that this gateway does not have")
_verdict(TOKEN_E_UNENCODED, b"b64", b"The token's payload is not encoded")
_verdict(TOKEN_E_ZIP, b"zip", b"The token is compressed")
_verdict(TOKEN_E_TYPE, b"type", b"The token is not of a type that is accepted here")
_verdict(TOKEN_E_ALGORITHM, b"algorithm", b"The token's algorithm is not that of a key of this gateway")
_verdict(TOKEN_E_UNKNOWN_KID, b"unknown-kid", b"The token is signed by a key that this gateway does not have")
_verdict(TOKEN_E_NO_KID, b"no-kid", b"The token does not say which key signed it, and there are too many to try")
_verdict(TOKEN_E_SIGNATURE, b"signature", b"The token's signature is wrong")
_verdict(TOKEN_E_CLAIM_TYPE, b"claim-type", b"A claim of the token has the wrong type")
_verdict(TOKEN_E_CLAIM_MISSING, b"claim-missing", b"The token lacks a claim that is required here")
_verdict(TOKEN_E_EXPIRED, b"expired", b"The token has expired")
_verdict(TOKEN_E_NOT_YET, b"not-yet-valid", b"The token is not valid yet")
_verdict(TOKEN_E_ISSUED_LATER, b"issued-later", b"The token was issued in the future")
_verdict(TOKEN_E_ISSUER, b"issuer", b"The token is not from an issuer that is accepted here")
_verdict(TOKEN_E_AUDIENCE, b"audience", b"The token is not meant for this service")
_verdict(TOKEN_E_SCOPE, b"scope", b"The token lacks a scope that is required here")
_verdict(TOKEN_E_MEMORY, b"memory", b"This gateway has no memory left to check the token")


cdef const char* token_name(int code) noexcept nogil:
    return VERDICTS[-code].name


cdef const char* token_reason(int code) noexcept nogil:
    return VERDICTS[-code].reason


REASONS = {token_name(code).decode(): token_reason(code).decode() for code in range(TOKEN_E_TOO_LARGE, TOKEN_E_MEMORY - 1, -1)}


cdef uint64_t built = 0


cdef list _octets(object texts, str what):
    if isinstance(texts, str):
        raise TypeError(f"{what}: expected a list of texts, got one text")
    listed = [(<str?>each).encode() for each in texts]
    if b"" in listed:
        raise ValueError(f"{what}: an empty text")
    return listed


cdef str _type_text(str text):
    return text.lower().removeprefix("application/")


cdef str _scope_text(str text):
    # RFC 6749 section 3.3
    if not all(0x21 <= ord(each) <= 0x7E and each not in '"\\' for each in text):
        raise ValueError(f"scopes: {text!r} has a character that a scope cannot have")
    return text


@cython.final
cdef class TokenRules:
    """What a token must say."""
    def __cinit__(self, *, issuers=(), audiences=(), required=(), scopes=(), types=(), leeway: int = 0, require_exp: bool = True, max_bytes: int = 8192) -> None:
        global built
        if not 0 <= leeway <= 86400:
            raise ValueError(f"leeway: {leeway} s, expected 0 to 86400")
        if not TOKEN_BYTES_MIN <= max_bytes <= TOKEN_BYTES_MAX:
            raise ValueError(f"max_bytes: {max_bytes}, expected {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX}")
        cdef Rules* r = &self.rules
        lists = [
            _octets(issuers, "issuers"),
            _octets(audiences, "audiences"),
            _octets(required, "required"),
            _octets([_scope_text(each) for each in scopes], "scopes"),
            _octets([_type_text(each) for each in types], "types"),
        ]
        self.kept = []
        self.texts = <Text*>calloc(sum(map(len, lists)) + 1, sizeof(Text))
        if self.texts == NULL:
            raise MemoryError
        r.issuers = self._texts(lists[0], &r.n_issuers)
        r.audiences = self._texts(lists[1], &r.n_audiences)
        r.required = self._texts(lists[2], &r.n_required)
        r.scopes = self._texts(lists[3], &r.n_scopes)
        r.types = self._texts(lists[4], &r.n_types)
        r.leeway_s = leeway
        r.require_exp = require_exp
        r.max_bytes = max_bytes
        built += 1
        r.identity = built

    def __dealloc__(self) -> None:
        free(self.texts)

    cdef Text* _texts(self, list octets, uint32_t* n):
        cdef Text* first = self.texts + len(self.kept)
        cdef bytes each
        for each in octets:
            first[n[0]].p = each
            first[n[0]].n = <uint32_t>len(each)
            n[0] += 1
            self.kept.append(each)
        return first


def _number(str digits):
    # int() takes no more than 4300 digits
    return int(digits) if len(digits) < 4300 else float(digits)


cdef dict token_dict(const TokenOut* out):
    return json.loads(out.payload[:out.n], parse_int=_number)


cdef uint32_t octets_of(bytes token):
    return <uint32_t>min(<size_t>len(token), <size_t>TOKEN_BYTES_MAX + 1)       # longer than that is too large for all rules


def check(KeySet keys not None, dict rules not None, bytes token not None, int64_t wall_s):
    cdef TokenRules judged = TokenRules(**rules)
    cdef TokenOut out
    cdef int code = token_check(&keys.state, &judged.rules, token, octets_of(token), wall_s, &out)
    if code < 0:
        return token_name(code).decode()
    try:
        return token_dict(&out)
    finally:
        token_clear(&out)


def verify(KeySet keys not None, bytes token not None):
    cdef TokenRules none = TokenRules(max_bytes=TOKEN_BYTES_MAX)
    cdef Members members
    cdef TokenOut out
    if len(token) > TOKEN_BYTES_MAX:
        return token_name(TOKEN_E_TOO_LARGE).decode()
    out.payload = NULL
    cdef int code = _verified(&keys.state, &none.rules, token, <uint32_t>len(token), &members, &out)
    try:
        return out.payload[:out.n] if code == 0 else token_name(code).decode()
    finally:
        token_clear(&out)


def find(bytes payload not None, str path not None):
    cdef Members members
    cdef Value whole, found
    cdef bytes octets = path.encode()
    cdef const char* text = payload
    if json_read(text, <uint32_t>len(payload), JSON_MEMBERS_MAX, &members) < 0:
        raise ValueError("the payload is not a JSON object, as strict as tokens need it")
    whole.p = <const char*>memchr(text, c'{', len(payload))
    whole.type = JSON_OBJECT
    json_find(&whole, octets, <uint32_t>len(octets), &found)
    if found.type != JSON_STRING:
        return None if found.type == JSON_ABSENT else found.p[:found.n]
    cdef bytearray copy = bytearray(found.n + 1)
    return copy[:text_copy(&found, copy)].decode()


def _repeat(KeySet keys not None, TokenRules rules not None, bytes token not None, int64_t wall_s, uint64_t times):
    cdef TokenOut out
    cdef const char* p = token
    cdef uint32_t n = <uint32_t>len(token)
    cdef uint64_t good = 0, _i
    with nogil:
        for _i in range(times):
            if token_check(&keys.state, &rules.rules, p, n, wall_s, &out) == TOKEN_OK:
                good += 1
                token_clear(&out)
    return good
