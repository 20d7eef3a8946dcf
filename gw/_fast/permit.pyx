cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from gw._fast.answer cimport R_ADDRESS_DENIED, R_NO_CREDENTIAL, R_NOT_PERMITTED, R_SCOPE_MISSING
from gw._fast.cidr cimport AddressSet, address_of, ranges_hold
from gw._fast.forward cimport client_address, client_ip
from gw._fast.hooks cimport field_lines
from gw._fast.plane cimport STEP_NEXT, Exchange, Identity
from gw._fast.step cimport Step, step_refuses
from gw._fast.words cimport Word, lists


cdef bint _lists_any(const char* listed, uint32_t n, char separator, const Words* words) noexcept nogil:
    cdef uint32_t i
    for i in range(words.n):
        if lists(listed, n, separator, &words.items[i]):
            return True
    return False


cdef bint _lists_all(const char* listed, uint32_t n, char separator, const Words* words) noexcept nogil:
    cdef uint32_t i
    for i in range(words.n):
        if not lists(listed, n, separator, &words.items[i]):
            return False
    return True


cdef bint _names(const Words* words, const char* text, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(words.n):
        if words.items[i].len == n and memcmp(words.items[i].text, text, n) == 0:
            return True
    return False


cdef inline bint _unknown(const Identity* who) noexcept nogil:
    """Nobody has proved who calls, and who comes without a credential is no consumer either. As Request.known has it."""
    return who.consumer == NULL and (who.method == NULL or not who.presented)


cdef inline bint _has_bit(const char* bits, uint32_t index) noexcept nogil:
    return bits[index >> 3] >> (index & 7) & 1


cdef int _in_list(void* self, Exchange* x) noexcept nogil:
    cdef const Acl* acl = <const Acl*>self
    cdef const Identity* who = &x.identity
    if _unknown(who):
        return step_refuses(x, R_NO_CREDENTIAL, acl.challenge.text, acl.challenge.len)
    if (who.consumer != NULL and _has_bit(acl.denied, who.consumer.index)) or _lists_any(who.groups, who.groups_len, c",", &acl.deny):
        return step_refuses(x, R_NOT_PERMITTED, NULL, 0)
    if acl.everybody or (who.consumer != NULL and _has_bit(acl.allowed, who.consumer.index)) or _lists_any(who.groups, who.groups_len, c",", &acl.allow):
        return STEP_NEXT
    return step_refuses(x, R_NOT_PERMITTED, NULL, 0)


cdef const Need* _need_of(const Needs* needs, const char* method, uint32_t n) noexcept nogil:
    """NULL: nothing is said of the method."""
    cdef const Need* rest = NULL
    cdef const Need* need
    cdef uint32_t i
    for i in range(needs.n):
        need = &needs.items[i]
        if need.method.len == n and memcmp(need.method.text, method, n) == 0:
            return need
        if need.method.text[0] == c"*":
            rest = need
    return rest


cdef int _has_scopes(void* self, Exchange* x) noexcept nogil:
    cdef const Identity* who = &x.identity
    cdef const Needs* needs = <const Needs*>self
    cdef const Need* need
    if _unknown(who):
        return step_refuses(x, R_NO_CREDENTIAL, needs.challenge.text, needs.challenge.len)
    need = _need_of(needs, x.head.base + x.request.method.off, x.request.method.len)
    if need == NULL:
        return step_refuses(x, R_NOT_PERMITTED, NULL, 0)
    if _lists_all(who.scopes, who.scopes_len, c" ", &need.all) and (need.any.n == 0 or _lists_any(who.scopes, who.scopes_len, c" ", &need.any)):
        return STEP_NEXT
    if not _names(&needs.bearers, who.method, who.method_len):
        return step_refuses(x, R_SCOPE_MISSING, NULL, 0)
    return step_refuses(x, R_SCOPE_MISSING, need.challenge.text, need.challenge.len)


cdef int _comes_from(void* self, Exchange* x) noexcept nogil:
    """What is no address, such as the peer on a Unix socket, passes no gate."""
    cdef const Gate* gate = <const Gate*>self
    cdef uint8_t address[16]
    if not client_ip(x, address) or (gate.deny != NULL and ranges_hold(gate.deny, address_of(address))):
        return step_refuses(x, R_ADDRESS_DENIED, NULL, 0)
    if gate.allow == NULL or ranges_hold(gate.allow, address_of(address)):
        return STEP_NEXT
    return step_refuses(x, R_ADDRESS_DENIED, NULL, 0)


cdef Word _word(bytes text, list held):
    held.append(text)
    return Word(PyBytes_AS_STRING(text), len(text))


cdef _fill(Words* into, list texts, list held):
    cdef uint32_t i
    into.items = <Word*>calloc(len(texts) + 1, sizeof(Word))
    if into.items == NULL:
        raise MemoryError
    for i in range(len(texts)):
        into.items[i] = _word(texts[i].encode(), held)
    into.n = len(texts)


cdef str _caller(const Identity* who):
    if _unknown(who):
        return "nobody is known"
    return f"consumer '{who.consumer.name[:who.consumer.name_len].decode()}'" if who.consumer != NULL else "a caller who is no consumer"


@cython.final
cdef class AclStep(Step):
    cdef Acl acl
    cdef list held

    def __init__(self, name: str, allowed: bytes, denied: bytes, allow: list, deny: list, everybody: bool, challenge: dict) -> None:
        Step.__init__(self, name)
        self.held = [allowed, denied]
        self.acl.allowed = PyBytes_AS_STRING(allowed)
        self.acl.denied = PyBytes_AS_STRING(denied)
        self.acl.everybody = everybody
        self.acl.challenge = _word(field_lines(challenge), self.held)
        _fill(&self.acl.allow, allow, self.held)
        _fill(&self.acl.deny, deny, self.held)
        self.request.run = _in_list
        self.request.self = &self.acl

    cdef str told(self, Exchange* x, int verdict):
        return _caller(&x.identity)

    def __dealloc__(self):
        free(self.acl.allow.items)
        free(self.acl.deny.items)


@cython.final
cdef class ScopeStep(Step):
    cdef Needs needs
    cdef list held

    def __init__(self, name: str, needs: list, challenge: dict, bearers: list) -> None:
        cdef Need* need
        cdef uint32_t i = 0
        Step.__init__(self, name)
        self.held = []
        self.needs.items = <Need*>calloc(len(needs), sizeof(Need))
        if self.needs.items == NULL:
            raise MemoryError
        self.needs.n = len(needs)
        self.needs.challenge = _word(field_lines(challenge), self.held)
        _fill(&self.needs.bearers, bearers, self.held)
        for method, every, one_of in needs:
            need = &self.needs.items[i]
            need.method = _word(method.encode(), self.held)
            need.challenge = _word(f'WWW-Authenticate: Bearer error="insufficient_scope", scope="{" ".join([*every, *one_of])}"\r\n'.encode(), self.held)
            _fill(&need.all, every, self.held)
            _fill(&need.any, one_of, self.held)
            i += 1
        self.request.run = _has_scopes
        self.request.self = &self.needs

    cdef str told(self, Exchange* x, int verdict):
        cdef const Identity* who = &x.identity
        return _caller(who) if _unknown(who) else f"scopes '{who.scopes[:who.scopes_len].decode('utf-8', 'replace')}'" if who.scopes_len else "no scopes"

    def __dealloc__(self):
        cdef uint32_t i
        if self.needs.items != NULL:
            for i in range(self.needs.n):
                free(self.needs.items[i].all.items)
                free(self.needs.items[i].any.items)
        free(self.needs.items)
        free(self.needs.bearers.items)


@cython.final
cdef class AddressStep(Step):
    cdef Gate gate
    cdef tuple held

    def __init__(self, name: str, allow: AddressSet | None, deny: AddressSet | None) -> None:
        Step.__init__(self, name)
        self.held = (allow, deny)
        self.gate.allow = &(<AddressSet>allow).ranges if allow is not None else NULL
        self.gate.deny = &(<AddressSet>deny).ranges if deny is not None else NULL
        self.request.run = _comes_from
        self.request.self = &self.gate

    cdef str told(self, Exchange* x, int verdict):
        cdef uint32_t n = 0
        cdef const char* text = client_address(x, &n)
        return f"client {text[:n].decode('latin-1')}"
