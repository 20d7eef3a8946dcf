cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp, memmove, memset

from gw._fast.answer cimport R_DECISION_UNAVAILABLE, R_EXPIRED_CREDENTIAL, R_INVALID_CREDENTIAL, R_NO_CREDENTIAL
from gw._fast.api_keys cimport ApiKey, ApiKeys, api_key_find, api_keys_release
from gw._fast.h1 cimport H1_DONE, head_start, request_feed
from gw._fast.headers cimport FIELD_DROP, H_AUTHORIZATION, H_COOKIE, Field, head_find_id, same_name, same_token
from gw._fast.pages cimport prefetch
from gw._fast.plane cimport STEP_NEXT, Consumer, Exchange, Identity, LaneState, SnapshotState
from gw._fast.predicate cimport query_decode, query_equals
from gw._fast.step cimport Step, step_refuses
from gw._fast.stream cimport reactor_wall

cdef enum: KEY_MAX = 2048       # bytes of a key in the query; a longer one is nobody's

PLACES = {"header": IN_HEADER, "authorization": IN_AUTHORIZATION, "query": IN_QUERY, "cookie": IN_COOKIE}


cdef struct Found:              # a key, if it was there exactly once
    const char* text
    uint32_t len
    uint32_t times


cdef inline uint32_t _until(const char* text, uint32_t at, uint32_t end, char mark) noexcept nogil:
    cdef const char* found = <const char*>memchr(text + at, mark, end - at)
    return end if found == NULL else <uint32_t>(found - text)


cdef inline uint32_t _past_space(const char* text, uint32_t at, uint32_t end) noexcept nogil:
    while at < end and text[at] in (c" ", c"\t"):
        at += 1
    return at


cdef inline uint32_t _less_space(const char* text, uint32_t at, uint32_t end) noexcept nogil:
    while end > at and text[end - 1] in (c" ", c"\t"):
        end -= 1
    return end - at


cdef inline void _note(Found* found, const char* text, uint32_t n) noexcept nogil:
    found.text = text
    found.len = n
    found.times += 1


# One item of a place: whether it is the key, and what of it.

cdef bint _is_authorization(const Place* place, const char* text, uint32_t n, Found* found) noexcept nogil:
    """`scheme key`; schemes are equal in any case (RFC 9110 section 11.1)."""
    cdef uint32_t at = place.name_len
    if n < at or not same_token(text, place.name, at) or (n > at and text[at] != c" "):
        return False
    at = _past_space(text, at, n)
    _note(found, text + at, n - at)
    return True


cdef bint _is_parameter(const Place* place, const char* text, uint32_t n, Found* found) noexcept nogil:
    cdef uint32_t equals = _until(text, 0, n, c"=")
    if not query_equals(text, equals, place.name, place.name_len):
        return False
    equals = min(equals + 1, n)
    _note(found, text + equals, n - equals)
    return True


cdef bint _is_cookie(const Place* place, const char* text, uint32_t n, Found* found) noexcept nogil:
    """RFC 6265 section 4.1.1: the value may stand in quotes."""
    cdef uint32_t equals = _until(text, 0, n, c"=")
    if equals != place.name_len or equals == n or memcmp(text, place.name, equals) != 0:
        return False
    text += equals + 1
    n -= equals + 1
    if n >= 2 and text[0] == c'"' and text[n - 1] == c'"':
        text += 1
        n -= 2
    _note(found, text, n)
    return True


cdef inline uint32_t _keep(char* text, uint32_t kept, uint32_t at, uint32_t end, char mark) noexcept nogil:
    """Moves an item up behind those that stay; what is kept of the text then."""
    if kept:
        text[kept] = mark
        kept += 1
    memmove(text + kept, text + at, end - at)
    return kept + end - at


# Looking at a place, and with `cut` taking the key away. The head is ours to write to once it is parsed: what is cut closes up in place.

cdef void _fields(Exchange* x, const Place* place, Found* found, bint cut) noexcept nogil:
    cdef uint32_t i
    cdef Field* field
    for i in range(x.head.n_fields):
        field = &x.head.fields[i]
        if field.name_len == place.name_len and same_name(x.head.base + field.name, place.name, place.name_len):
            _note(found, x.head.base + field.value, field.value_len)
            if cut:
                field.flags |= FIELD_DROP


cdef void _authorizations(Exchange* x, const Place* place, Found* found, bint cut) noexcept nogil:
    cdef int i = head_find_id(&x.head, H_AUTHORIZATION, 0)
    while i >= 0:
        if _is_authorization(place, x.head.base + x.head.fields[i].value, x.head.fields[i].value_len, found) and cut:
            x.head.fields[i].flags |= FIELD_DROP
        i = head_find_id(&x.head, H_AUTHORIZATION, i + 1)


cdef void _parameters(Exchange* x, const Place* place, Found* found, bint cut) noexcept nogil:
    cdef char* text = <char*>x.head.base + x.query.off
    cdef uint32_t at = 0, kept = 0, end, before = found.times
    while at < x.query.len:
        end = _until(text, at, x.query.len, c"&")
        if not _is_parameter(place, text + at, end - at, found) and cut:
            kept = _keep(text, kept, at, end, c"&")
        at = end + 1
    if cut and found.times != before:
        x.query.len = kept
        x.has_query = kept != 0


cdef void _cookies(Exchange* x, const Place* place, Found* found, bint cut) noexcept nogil:
    cdef int i = head_find_id(&x.head, H_COOKIE, 0)
    while i >= 0:
        _cookie_pairs(<char*>x.head.base, &x.head.fields[i], place, found, cut)
        i = head_find_id(&x.head, H_COOKIE, i + 1)


cdef void _cookie_pairs(char* base, Field* field, const Place* place, Found* found, bint cut) noexcept nogil:
    cdef char* text = base + field.value
    cdef uint32_t at = 0, kept = 0, end, start, before = found.times
    while at < field.value_len:
        end = _until(text, at, field.value_len, c";")
        start = _past_space(text, at, end)
        if not _is_cookie(place, text + start, _less_space(text, start, end), found) and cut:
            kept = _keep(text, kept, at if kept else start, end, c";")
        at = end + 1
    if cut and found.times != before:
        _shorten(text, field, kept)


cdef void _shorten(char* text, Field* field, uint32_t kept) noexcept nogil:
    """Fields leave in runs of whole lines, so white space fills what is no longer used: before the value, where every origin passes over it."""
    cdef uint32_t gap = field.value_len - kept
    memmove(text + gap, text, kept)
    memset(text, c" ", gap)
    field.value += gap
    field.value_len = kept
    field.flags |= 0 if kept else FIELD_DROP


cdef void _look(Exchange* x, const Place* place, Found* found, bint cut) noexcept nogil:
    if place.kind == IN_HEADER:
        _fields(x, place, found, cut)
    elif place.kind == IN_AUTHORIZATION:
        _authorizations(x, place, found, cut)
    elif place.kind == IN_QUERY:
        _parameters(x, place, found, cut)
    else:
        _cookies(x, place, found, cut)


cdef const ApiKey* _whose(const KeyRule* rule, const Place* place, const Found* found) noexcept nogil:
    cdef char decoded[KEY_MAX]
    if found.times != 1:
        return NULL
    if place.kind != IN_QUERY:
        return api_key_find(rule.keys, found.text, found.len)
    if found.len > KEY_MAX:
        return NULL
    return api_key_find(rule.keys, decoded, query_decode(found.text, found.len, decoded))


cdef void _is_known(Exchange* x, const KeyRule* rule, const ApiKey* key) noexcept nogil:
    cdef Identity* who = &x.identity
    if who.release != NULL:
        who.release(who.held)
    memset(who, 0, sizeof(Identity))
    who.presented = 1
    who.consumer = &x.snapshot.consumers[key.consumer]
    prefetch(who.consumer)          # with the id: both are needed soon, and seldom in the cache
    prefetch(key.id)
    who.method = rule.method
    who.method_len = rule.method_len
    who.credential = key.id
    who.credential_len = key.id_len
    rule.keys.table.refs += 1
    who.held = rule.keys.table
    who.release = api_keys_release


cdef int _check_key(void* self, Exchange* x) noexcept nogil:
    cdef const KeyRule* rule = <const KeyRule*>self
    cdef const ApiKey* key
    cdef Found found = Found(NULL, 0, 0)
    cdef uint32_t i
    for i in range(rule.n_places):
        _look(x, &rule.places[i], &found, False)
        if found.times:
            break
    else:
        return step_refuses(x, R_NO_CREDENTIAL, rule.challenge, rule.challenge_len)
    x.identity.presented = 1
    key = _whose(rule, &rule.places[i], &found)
    if key == NULL and not rule.keys.whole and found.times == 1:
        return step_refuses(x, R_DECISION_UNAVAILABLE, NULL, 0)
    if key == NULL:
        return step_refuses(x, R_INVALID_CREDENTIAL, rule.challenge, rule.challenge_len)
    if key.expires_s and reactor_wall(&x.lane.reactor) >= key.expires_s:
        return step_refuses(x, R_EXPIRED_CREDENTIAL, rule.challenge, rule.challenge_len)
    _is_known(x, rule, key)
    if rule.hide:
        for i in range(rule.n_places):
            _look(x, &rule.places[i], &found, True)
    return STEP_NEXT


@cython.final
cdef class ApiKeyStep(Step):
    cdef KeyRule rule           # its places are owned by this object
    cdef ApiKeys keys
    cdef list held              # owns the text of the rule
    cdef str where

    def __init__(self, name: str, places: list, keys: ApiKeys, challenge: bytes, *, hide: bool) -> None:
        cdef bytes text
        cdef uint32_t i
        Step.__init__(self, name)
        text = name.encode()
        self.held = [text, challenge]
        self.keys = keys
        self.where = ", ".join(f"{kind} {given}" for kind, given in places)
        self.rule.places = <Place*>calloc(len(places), sizeof(Place))
        if self.rule.places == NULL:
            raise MemoryError
        self.rule.n_places = <uint32_t>len(places)
        self.rule.keys = &keys.state
        self.rule.method = PyBytes_AS_STRING(text)
        self.rule.method_len = <uint32_t>len(text)
        self.rule.challenge = PyBytes_AS_STRING(challenge)
        self.rule.challenge_len = <uint32_t>len(challenge)
        self.rule.hide = hide
        for i, (kind, given) in enumerate(places):
            text = (given.lower() if kind in ("header", "authorization") else given).encode()
            self.held.append(text)
            self.rule.places[i].kind = PLACES[kind]
            self.rule.places[i].name = PyBytes_AS_STRING(text)
            self.rule.places[i].name_len = <uint32_t>len(text)
        self.request.run = _check_key
        self.request.self = &self.rule

    def __dealloc__(self):
        free(self.rule.places)

    cdef str told(self, Exchange* x, int verdict):
        cdef const Identity* who = &x.identity
        if verdict == STEP_NEXT:
            return f"key {who.credential[:who.credential_len].decode()} of {who.consumer.name[:who.consumer.name_len].decode()}"
        if x.own.reason == R_NO_CREDENTIAL:
            return f"no key in {self.where}"
        if x.own.reason == R_EXPIRED_CREDENTIAL:
            return "the key has expired"
        if x.own.reason == R_DECISION_UNAVAILABLE:
            return "the keys of the store have not been read"
        return "a key that nobody has, or more than one"

    def _repeat(self, head: bytes, times: int) -> int:
        cdef Exchange* x = <Exchange*>calloc(1, sizeof(Exchange))
        cdef LaneState* lane = <LaneState*>calloc(1, sizeof(LaneState))
        cdef Consumer consumer
        cdef SnapshotState snapshot
        cdef uint32_t passed = 0, _, rounds = times
        memset(&consumer, 0, sizeof(consumer))
        memset(&snapshot, 0, sizeof(snapshot))
        try:
            if x == NULL or lane == NULL:
                raise MemoryError
            snapshot.consumers = &consumer
            x.lane = lane
            x.snapshot = &snapshot
            head_start(&x.parser, &x.head, 100)
            if request_feed(&x.parser, PyBytes_AS_STRING(head), 0, <uint32_t>len(head), 1 << 16, 1 << 16, &x.request) != H1_DONE:
                raise ValueError("not a whole head")
            with nogil:
                for _ in range(rounds):
                    passed += self.request.run(self.request.self, x) == STEP_NEXT
            if x.identity.release != NULL:
                x.identity.release(x.identity.held)
        finally:
            free(lane)
            free(x)
        return passed


cdef struct AnonymousRule:
    int consumer                # index in the snapshot; -1: none
    const char* method          # borrowed from the step
    uint32_t method_len


cdef int _check_anonymous(void* self, Exchange* x) noexcept nogil:
    cdef const AnonymousRule* rule = <const AnonymousRule*>self
    if x.identity.presented:
        return step_refuses(x, R_INVALID_CREDENTIAL, NULL, 0)
    x.identity.consumer = &x.snapshot.consumers[rule.consumer] if rule.consumer >= 0 else NULL
    x.identity.method = rule.method
    x.identity.method_len = rule.method_len
    return STEP_NEXT


@cython.final
cdef class AnonymousStep(Step):
    cdef AnonymousRule rule
    cdef bytes held

    def __init__(self, name: str, consumer: int) -> None:
        Step.__init__(self, name)
        self.held = name.encode()
        self.rule.consumer = consumer
        self.rule.method = PyBytes_AS_STRING(self.held)
        self.rule.method_len = <uint32_t>len(self.held)
        self.request.run = _check_anonymous
        self.request.self = &self.rule

    cdef str told(self, Exchange* x, int verdict):
        return "no credential was presented" if verdict == STEP_NEXT else "a credential was presented, and no policy before this one accepts it"
