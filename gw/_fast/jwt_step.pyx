cimport cython
import json
from base64 import urlsafe_b64decode

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport bsearch, calloc, free, qsort
from libc.string cimport memcmp, memcpy, memmove, memset

from gw._fast.answer cimport (
    R_DECISION_UNAVAILABLE, R_EXPIRED_CREDENTIAL, R_INVALID_CREDENTIAL, R_NOT_PERMITTED, R_NO_CREDENTIAL, R_OVERLOADED, R_SCOPE_MISSING,
)
from gw._fast.claims cimport DATE_MAX, JSON_ABSENT, JSON_ARRAY, JSON_NULL, JSON_STRING, Value, json_element, json_find, text_copy
from gw._fast.forward cimport edit_push
from gw._fast.hash cimport hash_key
from gw._fast.headers cimport H_AUTHORIZATION, H_COOKIE, TOKEN, Field, Head, head_find, head_find_id, same_token
from gw._fast.jwt cimport (
    TOKEN_E_EXPIRED, TOKEN_E_ISSUED_LATER, TOKEN_E_MEMORY, TOKEN_E_NOT_YET, TOKEN_E_SCOPE, TOKEN_E_SIGNATURE, TOKEN_E_UNKNOWN_KID, TOKEN_OK, token_reason,
)
from gw._fast.keys cimport Key
from gw._fast.openssl cimport RAND_bytes
from gw._fast.plane cimport EDIT_REMOVE, EDIT_SET, STEP_NEXT, STEP_PARK, Identity
from gw._fast.step cimport step_refuses, waiting_add, waiting_init, waiting_remove, waiting_wake
from gw._fast.stream cimport reactor_wall
from gw._fast.token_cache cimport TokenEntry, token_authenticate, token_cache_clear, token_cache_init, token_extend, token_release

KINDS = {"authorization": FROM_AUTHORIZATION, "header": FROM_FIELD, "cookie": FROM_COOKIE, "query": FROM_QUERY}
cdef dict SENTENCES = {
    E_NONE: "The request carries no token",
    E_TWICE: "The request carries more than one token",
    E_FORM: "The credentials are not the word Bearer, a space and a token",
    E_KEYS: "The keys to check the token with could not be had yet",
    E_CONSUMER: "The token belongs to no consumer of this gateway",
}


# Finding the token. Each returns 1 and sets `token`, 0 where there is none, E_TWICE or E_FORM.

cdef int _value(const Head* head, int first, int second, Text* token) noexcept nogil:
    """`first` and `second`: indices of the fields of one name, -1: there is none."""
    if first < 0:
        return 0
    if second >= 0:
        return E_TWICE
    token.p = head.base + head.fields[first].value
    token.n = head.fields[first].value_len
    return token.n > 0


cdef int _in_field(const Head* head, const Text* name, Text* token) noexcept nogil:
    cdef int first = head_find(head, name.p, name.n, 0)
    return _value(head, first, head_find(head, name.p, name.n, first + 1), token)


# RFC 9110 section 11.4: the scheme in any case, spaces, the token.
cdef int _in_authorization(const Head* head, Text* token) noexcept nogil:
    cdef int first = head_find_id(head, H_AUTHORIZATION, 0)
    cdef int found = _value(head, first, head_find_id(head, H_AUTHORIZATION, first + 1), token)
    if found <= 0:
        return found
    if token.n < 6 or not same_token(token.p, b"bearer", 6) or (token.n > 6 and TOKEN[<uint8_t>token.p[6]]):
        return 0
    if token.n == 6 or token.p[6] != c" ":
        return E_FORM
    token.p += 6
    token.n -= 6
    while token.p[0] == c" ":
        token.p += 1
        token.n -= 1
    return 1


# `name=value` pairs between `mark`s; spaces in front of a name do not count.
cdef int _in_pairs(const char* p, const char* end, char mark, const Text* name, Text* token) noexcept nogil:
    cdef const char* stop
    cdef int found = 0
    while p < end:
        while p < end and p[0] == c" ":
            p += 1
        stop = p
        while stop < end and stop[0] != mark:
            stop += 1
        if stop - p > <int64_t>name.n and p[name.n] == c"=" and memcmp(p, name.p, name.n) == 0:
            if found:
                return E_TWICE
            token.p = p + name.n + 1
            token.n = <uint32_t>(stop - token.p)
            found = 1
        p = stop + 1
    return found


cdef int _in_cookies(const Head* head, const Text* name, Text* token) noexcept nogil:
    cdef int i = head_find_id(head, H_COOKIE, 0)
    cdef int code, found = 0
    cdef const char* p
    while i >= 0:
        p = head.base + head.fields[i].value
        code = _in_pairs(p, p + head.fields[i].value_len, c";", name, token)
        if code < 0 or (code and found):
            return E_TWICE
        found |= code
        i = head_find_id(head, H_COOKIE, i + 1)
    return found


cdef int _in_source(const Exchange* x, const Source* source, Text* token) noexcept nogil:
    cdef const char* query = x.head.base + x.query.off
    if source.kind == FROM_AUTHORIZATION:
        return _in_authorization(&x.head, token)
    if source.kind == FROM_FIELD:
        return _in_field(&x.head, &source.name, token)
    if source.kind == FROM_COOKIE:
        return _in_cookies(&x.head, &source.name, token)
    return _in_pairs(query, query + x.query.len, c"&", &source.name, token)


# The token, and where it was; 0, E_NONE, E_TWICE (RFC 6750 section 2: one method in each request) or E_FORM.
cdef int _find(const Jwt* j, const Exchange* x, Text* token, const Source** where) noexcept nogil:
    cdef Text here
    cdef uint32_t i
    cdef int code
    where[0] = NULL
    for i in range(j.n_sources):
        code = _in_source(x, j.sources + i, &here)
        if code < 0:
            return code
        if code and where[0] != NULL:
            return E_TWICE
        if code:
            token[0] = here
            where[0] = j.sources + i
    return 0 if where[0] != NULL else E_NONE


# Hiding it, in the read buffer, which is this exchange's own until it ends.

cdef void _widen(const char* begin, const char* end, char mark, char** start, char** stop) noexcept nogil:
    """Takes the marks between this pair and the next one in, or, if it is the last, those between the one before and this."""
    while stop[0] < end and stop[0][0] in (mark, c" "):
        stop[0] += 1
    if stop[0] == end:
        while start[0] > begin and (start[0] - 1)[0] in (mark, c" "):
            start[0] -= 1


cdef void _hide_parameter(Exchange* x, const Text* name, const Text* token) noexcept nogil:
    cdef char* begin = <char*>x.head.base + x.query.off
    cdef char* end = begin + x.query.len
    cdef char* start = <char*>token.p - name.n - 1
    cdef char* stop = <char*>token.p + token.n
    _widen(begin, end, c"&", &start, &stop)
    memmove(start, stop, end - stop)
    x.query.len -= <uint32_t>(stop - start)
    x.has_query = x.query.len > 0


# The line keeps its length, for lines that do not change are forwarded as they stand: what is left moves towards its end, behind spaces.
cdef void _hide_in(Field* field, char* begin, const Text* name, const Text* token) noexcept nogil:
    cdef char* start = <char*>token.p - name.n - 1
    cdef char* stop = <char*>token.p + token.n
    cdef uint32_t n
    _widen(begin, begin + field.value_len, c";", &start, &stop)
    n = <uint32_t>(stop - start)
    memmove(begin + n, begin, start - begin)
    memset(begin, c" ", n)
    field.value += n
    field.value_len -= n


cdef void _hide_cookie(Exchange* x, const Text* name, const Text* token) noexcept nogil:
    cdef int i = head_find_id(&x.head, H_COOKIE, 0)
    cdef char* begin
    cdef Field* field
    while i >= 0:
        field = &x.head.fields[i]
        begin = <char*>x.head.base + field.value
        if begin <= token.p <= begin + field.value_len:
            _hide_in(field, begin, name, token)
            if field.value_len == 0 and i == head_find_id(&x.head, H_COOKIE, 0) and head_find_id(&x.head, H_COOKIE, i + 1) < 0:
                edit_push(&x.origin_edits, EDIT_REMOVE, b"cookie", 6, b"", 0)
            return
        i = head_find_id(&x.head, H_COOKIE, i + 1)


cdef void _hide(Exchange* x, const Source* where, const Text* token) noexcept nogil:
    if where.kind == FROM_COOKIE:
        _hide_cookie(x, &where.name, token)
    elif where.kind == FROM_QUERY:
        _hide_parameter(x, &where.name, token)
    else:
        edit_push(&x.origin_edits, EDIT_REMOVE, where.name.p, where.name.n, b"", 0)


# What a token says, worked out once.

cdef void _put(char** at, Text* into, const Value* value) noexcept nogil:
    into.p = at[0]
    into.n = 0
    if value.type == JSON_STRING:
        into.n = text_copy(value, at[0])
    elif value.type != JSON_ABSENT and value.type != JSON_NULL:
        memcpy(at[0], value.p, value.n)
        into.n = value.n
    at[0] += into.n


cdef bint _plain(const char* p, uint32_t n, char also) noexcept nogil:
    """No control character, and not `also`."""
    cdef uint32_t i
    for i in range(n):
        if <uint8_t>p[i] < 32 or p[i] == 127 or p[i] == also:
            return False
    return True


# A string of words, or an array of strings, joined by `joint`; a word that could be read as two is left out.
cdef void _put_words(char** at, Text* into, const Value* value, char joint) noexcept nogil:
    cdef const char* element = value.p + 1
    cdef Value each
    cdef Text word
    cdef uint32_t i
    into.p = at[0]
    into.n = 0
    if value.type == JSON_STRING:
        _put(at, into, value)
        for i in range(into.n):
            if into.p[i] == c" ":
                (<char*>into.p)[i] = joint
    if value.type != JSON_ARRAY:
        return
    while json_element(&element, &each):
        if each.type != JSON_STRING:
            continue
        _put(at, &word, &each)
        if word.n and _plain(word.p, word.n, joint):
            at[0][0] = joint
            at[0] += 1
        else:
            at[0] = <char*>word.p
    into.n = <uint32_t>(at[0] - into.p)
    if into.n:
        into.n -= 1


cdef int _compare(const void* a, const void* b) noexcept nogil:
    cdef const Subject* left = <const Subject*>a
    cdef const Subject* right = <const Subject*>b
    if left.value.n != right.value.n:
        return -1 if left.value.n < right.value.n else 1
    return memcmp(left.value.p, right.value.p, left.value.n)


cdef int32_t _consumer(const Jwt* j, const Text* value) noexcept nogil:
    cdef Subject wanted
    cdef Subject* found = NULL
    wanted.value = value[0]
    if value.n and j.n_subjects:
        found = <Subject*>bsearch(&wanted, j.subjects, j.n_subjects, sizeof(Subject), _compare)
    return <int32_t>found.consumer if found != NULL else -1


cdef void _put_edits(const Jwt* j, char** at, Caller* caller, const Value* values) noexcept nogil:
    cdef Text text
    cdef Edit* edit
    cdef uint32_t i
    for i in range(j.n_told):
        _put(at, &text, values + i)
        edit = caller.edits + i
        edit.name = j.told[i].name.p
        edit.name_len = j.told[i].name.n
        edit.value = text.p
        edit.value_len = text.n
        edit.op = EDIT_SET if text.n and _plain(text.p, text.n, 127) else EDIT_REMOVE
    caller.n_edits = j.n_told


cdef void _claim(const Value* claims, const Text* path, Value* out) noexcept nogil:
    out.n = 0
    out.type = JSON_ABSENT
    if path.n:
        json_find(claims, path.p, path.n, out)
        if out.type == JSON_ABSENT:
            out.n = 0


cdef Caller* _work_out(Jwt* j, TokenEntry* entry, int64_t wall_s) noexcept nogil:
    cdef Value values[CLAIMS_MAX]
    cdef Value groups, consumer, kid
    cdef const Key* key = j.supply.keys.keys + entry.out.key
    cdef size_t room = sizeof(Caller) + j.n_told * sizeof(Edit) + key.kid_n + 1
    cdef Caller* caller
    cdef Text name
    cdef char* at
    cdef uint32_t i
    _claim(&entry.out.claims, &j.groups_claim, &groups)
    _claim(&entry.out.claims, &j.consumer_claim, &consumer)
    for i in range(j.n_told):
        _claim(&entry.out.claims, &j.told[i].path, values + i)
        room += values[i].n
    room += groups.n + consumer.n
    room += entry.out.sub.n if entry.out.sub.type != JSON_ABSENT else 0
    room += entry.out.scope.n if entry.out.scope.type != JSON_ABSENT else 0
    caller = <Caller*>token_extend(&j.cache, j.rules, entry, <uint32_t>room, wall_s)
    if caller == NULL:
        return NULL
    caller.edits = <Edit*>(caller + 1)
    at = <char*>(caller.edits + j.n_told)
    memset(&kid, 0, sizeof(kid))
    kid.p = key.kid
    kid.n = key.kid_n
    kid.type = JSON_STRING if key.kid != NULL else JSON_ABSENT
    _put(&at, &caller.credential, &kid)
    _put(&at, &caller.subject, &entry.out.sub)
    _put_words(&at, &caller.scopes, &entry.out.scope, c" ")
    _put_words(&at, &caller.groups, &groups, c",")
    _put_edits(j, &at, caller, values)
    _put(&at, &name, &consumer)
    caller.consumer = _consumer(j, &name) if consumer.type == JSON_STRING else -1
    return caller


cdef void _release(void* held) noexcept nogil:
    token_release(<TokenEntry*>held)


cdef void _identify(const Jwt* j, Exchange* x, TokenEntry* entry, const Caller* caller) noexcept nogil:
    cdef Identity* who = &x.identity
    cdef uint32_t i
    if who.release != NULL:
        who.release(who.held)
    who.held = entry
    who.release = _release
    who.consumer = x.snapshot.consumers + caller.consumer if caller.consumer >= 0 else NULL
    who.method = j.method
    who.method_len = j.method_len
    who.subject = caller.subject.p
    who.subject_len = caller.subject.n
    who.credential = caller.credential.p
    who.credential_len = caller.credential.n
    who.groups = caller.groups.p
    who.groups_len = caller.groups.n
    who.scopes = caller.scopes.p
    who.scopes_len = caller.scopes.n
    who.claims = entry.out.claims.p
    who.claims_len = entry.out.claims.n
    for i in range(caller.n_edits):
        edit_push(&x.origin_edits, caller.edits[i].op, caller.edits[i].name, caller.edits[i].name_len, caller.edits[i].value, caller.edits[i].value_len)


# The step.

cdef TokenCache* _cache(Jwt* j) noexcept nogil:
    if j.cache_entries == 0 or (j.cache.buckets == NULL and not token_cache_init(&j.cache, j.cache_entries, j.cache_octets)):
        return NULL
    return &j.cache


cdef int _accept(Jwt* j, Exchange* x, TokenEntry* entry, const Source* where, const Text* token, int64_t wall_s) noexcept nogil:
    cdef Caller* caller = <Caller*>entry.extra
    if caller == NULL:
        caller = _work_out(j, entry, wall_s)
    if caller == NULL or (j.consumer_required and caller.consumer < 0):
        token_release(entry)
        return TOKEN_E_MEMORY if caller == NULL else E_CONSUMER
    _identify(j, x, entry, caller)
    if j.hide:
        _hide(x, where, token)
    return TOKEN_OK


# Find the token and check it: TOKEN_OK, and the exchange knows who calls, or why not.
cdef int _check(Jwt* j, Exchange* x, Text* token) noexcept nogil:
    cdef int64_t wall_s = reactor_wall(&x.lane.reactor)
    cdef const Source* where
    cdef TokenEntry* entry
    cdef int code = _find(j, x, token, &where)
    if code == E_NONE:
        return code
    x.identity.presented = 1
    if code == 0 and j.supply.keys == NULL:
        code = E_KEYS
    if code == 0:
        code = token_authenticate(_cache(j), j.supply.keys, j.rules, token.p, token.n, wall_s, &entry)
    if code == TOKEN_OK:
        code = _accept(j, x, entry, where, token, wall_s)
    j.code = code
    return code


cdef int _refuse(Jwt* j, Exchange* x, int code) noexcept nogil:
    cdef const Refusal* refusal = j.refusals - code
    j.code = code
    return step_refuses(x, refusal.reason, refusal.fields, refusal.fields_len)


cdef int _run(void* self, Exchange* x) noexcept nogil:
    cdef Jwt* j = <Jwt*>self
    cdef Text token
    cdef int code = _check(j, x, &token)
    if code == TOKEN_OK:
        return STEP_NEXT
    return _wait(j, x, &token, code) if _curable(j.supply, code) else _refuse(j, x, code)


# Waiting for fresher keys.

cdef bint _curable(const Supply* supply, int code) noexcept nogil:
    """Fresher keys may help: the kid is new, or keys have no names, so that the one that signed it may be new."""
    return supply.followed and (code == TOKEN_E_UNKNOWN_KID or (code == TOKEN_E_SIGNATURE and supply.keys.n_named < supply.keys.n))


cdef uint64_t _hash(const Supply* supply, const Text* token, int code) noexcept nogil:
    """Of the header, which names the key, or of all of it where that says nothing."""
    cdef uint32_t n = token.n
    if code == TOKEN_E_UNKNOWN_KID:
        n = 0
        while n < token.n and token.p[n] != c".":
            n += 1
    return hash_key(token.p, n, supply.seed).lo | 1


cdef bint _missed(const Supply* supply, uint64_t hash, int64_t now_us) noexcept nogil:
    return supply.misses[hash % MISSES] == hash and now_us - supply.missed_us[hash % MISSES] < supply.keep_us


cdef void _want(Supply* supply, int64_t now_us) noexcept nogil:
    if now_us - supply.wanted_us >= WANT_US:
        supply.wanted_us = now_us
        with gil:
            (<KeySupply>supply.owner)._call_for()


cdef int _wait(Jwt* j, Exchange* x, const Text* token, int code) noexcept nogil:
    """Parks the exchange if fresher keys may be had now."""
    cdef Supply* supply = j.supply
    cdef int64_t now_us = x.lane.reactor.now_us
    if x.view_of != NULL or now_us < supply.allowed_us or _missed(supply, _hash(supply, token, code), now_us):
        return _refuse(j, x, code)
    if supply.waiting.n == WAITING_MAX:
        return _refuse(j, x, E_KEYS)
    x.park.since_us = now_us
    x.park.wait_ms = WAIT_MS
    waiting_add(&supply.waiting, x, _leave)
    _want(supply, now_us)
    return STEP_PARK


cdef void _leave(Exchange* x, bint ended) noexcept nogil:
    waiting_remove(&(<Jwt*>x.parked_at.self).supply.waiting, x)
    if not ended:
        _go_on(x, True)


cdef void _woken(Exchange* x) noexcept nogil:
    _go_on(x, False)


cdef void _go_on(Exchange* x, bint late) noexcept nogil:
    """Checks again one that waits no longer. In vain, it waits on until keys have come that were asked for after it came; `late`, nobody can say."""
    cdef Jwt* j = <Jwt*>x.parked_at.self
    cdef Supply* supply = j.supply
    cdef Text token
    cdef uint64_t hash
    cdef int code = _check(j, x, &token)
    if code == TOKEN_OK:
        x.lane.resume(x, STEP_NEXT)
        return
    if _curable(supply, code):
        if x.park.since_us > supply.began_us and late:
            code = E_KEYS
        elif x.park.since_us > supply.began_us:
            waiting_add(&supply.waiting, x, _leave)
            return
        else:
            hash = _hash(supply, &token, code)
            supply.misses[hash % MISSES] = hash
            supply.missed_us[hash % MISSES] = x.lane.reactor.now_us
    x.lane.resume(x, _refuse(j, x, code))


@cython.final
cdef class KeySupply:
    """Keys that steps check tokens with. `source`: key of the source that replaces them, empty for keys of the operator's own."""

    def __cinit__(self, str source not None, KeySet keys, keep_us: int) -> None:
        self.source = source
        self.supply.followed = bool(source)
        self.supply.keep_us = keep_us
        self.supply.owner = <void*>self
        waiting_init(&self.supply.waiting)
        if RAND_bytes(<unsigned char*>&self.supply.seed, sizeof(self.supply.seed)) <= 0:
            raise MemoryError
        if keys is not None:
            self._set(keys)

    cdef _set(self, KeySet keys):
        self.keys = keys
        self.supply.keys = &keys.state

    cdef _call_for(self):
        if self.report is not None:
            self.report("source-wanted", {"source": self.source})

    @property
    def waiting(self) -> int:
        return self.supply.waiting.n

    def take(self, KeySet keys not None, int64_t began_us, int64_t allowed_us) -> None:
        if keys is not self.keys:
            memset(self.supply.misses, 0, sizeof(self.supply.misses))
        self._set(keys)
        self.supply.began_us = began_us
        self.supply.allowed_us = allowed_us
        self.supply.wanted_us = 0
        with nogil:
            waiting_wake(&self.supply.waiting, _woken)
        if self.supply.waiting.n:
            self._call_for()


cdef str _sentence(int code):
    return SENTENCES[code] if code in SENTENCES else token_reason(code).decode()


cdef uint8_t _reason(int code):
    if code in (TOKEN_E_EXPIRED, TOKEN_E_NOT_YET, TOKEN_E_ISSUED_LATER):
        return R_EXPIRED_CREDENTIAL
    return {
        TOKEN_E_SCOPE: R_SCOPE_MISSING, TOKEN_E_MEMORY: R_OVERLOADED, E_NONE: R_NO_CREDENTIAL, E_KEYS: R_DECISION_UNAVAILABLE, E_CONSUMER: R_NOT_PERMITTED,
    }.get(code, R_INVALID_CREDENTIAL)


cdef str _challenge(int code, str realm, str scopes):
    """RFC 6750 section 3."""
    cdef str error = "invalid_request" if code in (E_TWICE, E_FORM) else "insufficient_scope" if code == TOKEN_E_SCOPE else "invalid_token"
    cdef str bearer = f'WWW-Authenticate: Bearer realm="{realm}"'
    if code in (TOKEN_E_MEMORY, E_KEYS, E_CONSUMER):
        return ""
    if code == E_NONE:
        return f"{bearer}\r\n"
    return f'{bearer}, error="{error}", error_description="{_sentence(code)}"' + (f', scope="{scopes}"' if code == TOKEN_E_SCOPE else "") + "\r\n"


def _header(bytes token):
    text = token.partition(b".")[0]
    found = json.loads(urlsafe_b64decode(text + b"=="))
    return found if isinstance(found, dict) else {}


@cython.final
cdef class JwtStep(Step):
    def __init__(
        self, str name, KeySupply supply not None, TokenRules rules not None, *, sources, claims, subjects, scopes=(), str groups_claim="", str consumer_claim="sub",
        bint consumer_required=False, bint hide=False, str realm="gw", uint32_t cache_entries=0, uint64_t cache_octets=0,
    ) -> None:
        cdef Jwt* j = &self.jwt
        cdef Text method
        Step.__init__(self, name)
        if len(claims) > CLAIMS_MAX:
            raise ValueError(f"{len(claims)} claims to tell, expected at most {CLAIMS_MAX}")
        self.supply = supply
        self.rules = rules
        self.held = []
        self.owns = list(claims.values())
        j.supply = &supply.supply
        j.rules = &rules.rules
        self._list_sources(sources)
        self._list_claims(claims)
        self._list_subjects(subjects)
        method = self._text(name)
        j.method = method.p
        j.method_len = method.n
        j.groups_claim = self._text(groups_claim)
        j.consumer_claim = self._text(consumer_claim)
        j.consumer_required = consumer_required
        j.hide = hide
        j.cache_entries = cache_entries
        j.cache_octets = cache_octets
        self._list_refusals(realm, " ".join(scopes))
        self.request.run = _run
        self.request.self = j

    def __dealloc__(self) -> None:
        if self.jwt.cache.buckets != NULL:
            token_cache_clear(&self.jwt.cache)
        free(self.jwt.sources)
        free(self.jwt.told)
        free(self.jwt.subjects)

    cdef Text _text(self, str text):
        cdef bytes octets = text.encode()
        cdef Text made
        self.held.append(octets)
        made.p = PyBytes_AS_STRING(octets)
        made.n = <uint32_t>len(octets)
        return made

    cdef _list_sources(self, sources):
        cdef Source* at
        self.jwt.sources = at = <Source*>calloc(len(sources) + 1, sizeof(Source))
        if at == NULL:
            raise MemoryError
        for kind, name in sources:
            at.kind = KINDS[kind]
            at.name = self._text(name.lower() if kind in ("authorization", "header") else name)
            at += 1
        self.jwt.n_sources = len(sources)

    cdef _list_claims(self, claims):
        cdef Told* at
        self.jwt.told = at = <Told*>calloc(len(claims) + 1, sizeof(Told))
        if at == NULL:
            raise MemoryError
        for path, name in claims.items():
            at.path = self._text(path)
            at.name = self._text(name)
            at += 1
        self.jwt.n_told = len(claims)

    cdef _list_subjects(self, subjects):
        cdef Subject* at
        self.jwt.subjects = at = <Subject*>calloc(len(subjects) + 1, sizeof(Subject))
        if at == NULL:
            raise MemoryError
        for value, consumer in subjects.items():
            at.value = self._text(value)
            at.consumer = consumer
            at += 1
        self.jwt.n_subjects = len(subjects)
        qsort(self.jwt.subjects, self.jwt.n_subjects, sizeof(Subject), _compare)

    cdef _list_refusals(self, str realm, str scopes):
        cdef Text fields
        cdef int code
        for code in range(E_CONSUMER, 0):
            fields = self._text(_challenge(code, realm, scopes))
            self.jwt.refusals[-code].reason = _reason(code)
            self.jwt.refusals[-code].fields = fields.p
            self.jwt.refusals[-code].fields_len = fields.n

    def attach(self, report) -> None:
        self.supply.report = report

    cdef str told(self, Exchange* x, int verdict):
        cdef const TokenEntry* entry
        if verdict != STEP_NEXT:
            return f"{_sentence(self.jwt.code)}{self._said(x)}"
        entry = <const TokenEntry*>x.identity.held
        alg, kid = self.supply.keys.names[entry.out.key]
        subject = x.identity.subject[:x.identity.subject_len].decode()
        left = entry.out.exp_s - reactor_wall(&x.lane.reactor)
        expires = f"expires in {left} s" if entry.out.exp_s < DATE_MAX else "never expires"
        return ", ".join([alg, *([f"kid {kid!r}"] if kid is not None else []), *([f"sub {subject!r}"] if subject else []), expires])

    cdef str _said(self, Exchange* x):
        """Algorithm and kid that a refused token names: nothing in it has been proved."""
        cdef Text token
        cdef const Source* where
        if _find(&self.jwt, x, &token, &where) < 0:
            return ""
        try:
            header = _header(PyBytes_FromStringAndSize(token.p, token.n))
        except (ValueError, RecursionError):
            return ""
        said = [f"{name} {header[name]!r}" for name in ("alg", "kid") if name in header]
        return f" (it says {', '.join(said)})" if said else ""
