"""What a head asks for: host, normalised path, route. Decides without touching a socket, so that gw explain asks the same code."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memchr, memcpy, memset

from gw._fast.answer cimport (
    R_AMBIGUOUS_LENGTH, R_AMBIGUOUS_PATH, R_BODY_TOO_LARGE, R_CONNECT_NOT_ALLOWED, R_EXPECTATION_FAILED, R_HEAD_TOO_LARGE, R_INVALID_HOST, R_INVALID_PATH,
    R_MALFORMED_BODY, R_MALFORMED_HEAD, R_METHOD_NOT_ALLOWED, R_MISSING_HOST, R_NONE, R_NO_ROUTE, R_OVERLOADED, R_REQUEST_LINE_TOO_LONG, R_TOO_MANY_FIELDS, R_TRACE_NOT_ALLOWED,
    R_TRAILERS_TOO_LARGE, R_UNSUPPORTED_TRANSFER_CODING, R_UNSUPPORTED_VERSION, R_NO_CREDENTIAL, reason_text,
)
from gw._fast.forward cimport text_room
from gw._fast.h1 cimport (
    BODY_LENGTH, BODY_NONE, FAULT_CHUNK, FAULT_CODING, FAULT_CODING_UNKNOWN, FAULT_EXPECT, FAULT_FIELD_COUNT, FAULT_HEAD_SIZE, FAULT_HOST, FAULT_HOST_MISSING,
    FAULT_LENGTH, FAULT_LINE_SIZE, FAULT_TRAILER, FAULT_VERSION, host_valid,
)
from gw._fast.headers cimport Field, Span, Target, same_token
from gw._fast.path cimport PATH_E_ABOVE_ROOT, PATH_E_DOUBLE, PATH_E_ENCODED_SLASH, PATH_E_HIDDEN_DOTS, PATH_E_OVERLONG, PATH_E_PARAMETER, path_normalise
from gw._fast.plane cimport HOST_MAX, PATH_INLINE, STEP_NEXT, X_CONNECT, X_HEAD_REQUEST, X_IDEMPOTENT, X_UPGRADE, Plan, SnapshotState, Steps
from gw._fast.radix cimport ROUTE_METHOD, router_find
from gw._fast.slab cimport buf_take

cdef extern from "string.h" nogil:
    void* memmem(const void* text, size_t n, const void* piece, size_t m)


cdef uint8_t fault_reason(uint8_t fault) noexcept nogil:
    if fault == FAULT_VERSION:
        return R_UNSUPPORTED_VERSION
    if fault == FAULT_HEAD_SIZE:
        return R_HEAD_TOO_LARGE
    if fault == FAULT_FIELD_COUNT:
        return R_TOO_MANY_FIELDS
    if fault == FAULT_LINE_SIZE:
        return R_REQUEST_LINE_TOO_LONG
    if fault == FAULT_LENGTH or fault == FAULT_CODING:
        return R_AMBIGUOUS_LENGTH
    if fault == FAULT_CODING_UNKNOWN:
        return R_UNSUPPORTED_TRANSFER_CODING
    if fault == FAULT_HOST_MISSING:
        return R_MISSING_HOST
    if fault == FAULT_HOST:
        return R_INVALID_HOST
    if fault == FAULT_EXPECT:
        return R_EXPECTATION_FAILED
    if fault == FAULT_CHUNK:
        return R_MALFORMED_BODY
    if fault == FAULT_TRAILER:
        return R_TRAILERS_TOO_LARGE
    return R_MALFORMED_HEAD


cdef char _hex_pairs[512]       # "000102 ... ff"


def _fill_hex_pairs():
    cdef bytes pairs = bytes(range(256)).hex().encode()
    memcpy(_hex_pairs, <char*>pairs, 512)


_fill_hex_pairs()


cdef void make_id(Exchange* x) noexcept nogil:
    """128 bits as hex from xorshift128+, seeded by the kernel: unique, not secret."""
    cdef uint64_t* s = x.lane.id_state
    cdef uint64_t a, b, word
    cdef int i, half
    for half in range(2):
        a = s[0]
        b = s[1]
        word = a + b
        s[0] = b
        a ^= a << 23
        s[1] = a ^ b ^ (a >> 18) ^ (b >> 5)
        for i in range(8):
            memcpy(&x.id[half * 16 + i * 2], &_hex_pairs[(word >> (56 - 8 * i) & 255) * 2], 2)
    x.id_len = 32


cdef bint _is_method(const Exchange* x, const char* name, uint32_t n) noexcept nogil:
    cdef uint32_t i
    if x.request.method.len != n:
        return False
    for i in range(n):
        if x.head.base[x.request.method.off + i] != name[i]:
            return False
    return True


cdef void classify_method(Exchange* x) noexcept nogil:
    cdef char first = x.head.base[x.request.method.off]
    if first == c"G":
        if _is_method(x, b"GET", 3):
            x.flags |= X_IDEMPOTENT
    elif first == c"H":
        if _is_method(x, b"HEAD", 4):
            x.flags |= X_HEAD_REQUEST | X_IDEMPOTENT
    elif first == c"C":
        if _is_method(x, b"CONNECT", 7):
            x.flags |= X_CONNECT
    elif _is_method(x, b"PUT", 3) or _is_method(x, b"DELETE", 6) or _is_method(x, b"OPTIONS", 7) or _is_method(x, b"TRACE", 5):
        x.flags |= X_IDEMPOTENT


cdef uint8_t _read_target(Exchange* x) noexcept nogil:
    """Splits the target (RFC 9112 section 3.2), settles host and normalised path. A reason, or R_NONE."""
    cdef const char* text = x.head.base + x.request.target.off
    cdef uint32_t n = x.request.target.len
    cdef uint32_t at = 0, path_end
    cdef const char* found
    cdef Field* field
    cdef Span authority
    authority.off = 0
    authority.len = 0
    if x.request.host_field >= 0:
        field = &x.head.fields[x.request.host_field]
        authority.off = field.value
        authority.len = field.value_len
        if field.value_len == 0 and x.request.minor:
            return R_INVALID_HOST
    if n and text[0] != c"/":
        if n > 7 and same_token(text, b"http://", 7):
            at = 7
        elif n > 8 and same_token(text, b"https://", 8):
            at = 8
        elif n == 1 and text[0] == c"*" and _is_method(x, b"OPTIONS", 7):
            return _settle_host(x, authority)
        else:
            return R_INVALID_PATH
        # The authority of the target wins over Host, which must be well-formed all the same (RFC 9112 section 3.2.2).
        if authority.len and not _host_fits(x, authority):
            return R_INVALID_HOST
        authority.off = x.request.target.off + at
        while at < n and text[at] != c"/" and text[at] != c"?" and text[at] != c"#":
            at += 1
        authority.len = x.request.target.off + at - authority.off
        if authority.len == 0:
            return R_INVALID_HOST
    if authority.len and _settle_host(x, authority) != R_NONE:
        return R_INVALID_HOST
    if memchr(text, c"#", n) != NULL:
        return R_INVALID_PATH
    found = <const char*>memchr(text + at, c"?", n - at)
    path_end = n if found == NULL else <uint32_t>(found - text)
    if found != NULL:
        x.has_query = 1
        x.query.off = x.request.target.off + path_end + 1
        x.query.len = n - path_end - 1
    return _normalise(x, text + at, path_end - at)


cdef bint _host_fits(Exchange* x, Span authority) noexcept nogil:
    """Valid, and no longer than what x.host has room for."""
    return authority.len <= HOST_MAX and host_valid(x.head.base + authority.off, authority.len, x.host, &x.host_len)


cdef uint8_t _settle_host(Exchange* x, Span authority) noexcept nogil:
    cdef const char* text = x.head.base + authority.off
    cdef uint32_t i
    if authority.len and not _host_fits(x, authority):
        return R_INVALID_HOST
    for i in range(authority.len, 0, -1):
        if text[i - 1] == c"]":
            break
        if text[i - 1] == c":":
            # "host:" names no port and is forwarded without the colon.
            if i < authority.len:
                x.port.off = authority.off + i - 1
                x.port.len = authority.len - i + 1
            break
    return R_NONE


cdef uint8_t _normalise(Exchange* x, const char* raw, uint32_t n) noexcept nogil:
    cdef char* room = x.path_inline
    cdef int code
    if n == 0:
        raw = b"/"
        n = 1
    if n > PATH_INLINE:
        x.path_buf = buf_take(&x.lane.reactor.slab)
        if x.path_buf == NULL:
            return R_OVERLOADED
        if n >= x.path_buf.cap:
            return R_INVALID_PATH
        room = x.path_buf.data
    code = path_normalise(raw, n, room, x.snapshot.path_flags)
    if code < 0:
        x.path_code = code
        return R_AMBIGUOUS_PATH if code in (PATH_E_ENCODED_SLASH, PATH_E_PARAMETER, PATH_E_HIDDEN_DOTS, PATH_E_ABOVE_ROOT, PATH_E_DOUBLE, PATH_E_OVERLONG) else R_INVALID_PATH
    x.path = room
    x.path_len = <uint32_t>code
    return R_NONE


cdef void take_trusted_id(Exchange* x) noexcept nogil:
    cdef SnapshotState* snapshot = x.snapshot
    cdef Field* field
    cdef uint32_t i, j
    cdef char c
    for i in range(x.head.n_fields):
        field = &x.head.fields[i]
        if field.name_len != snapshot.id_name_len or not same_token(x.head.base + field.name, snapshot.id_lower, field.name_len):
            continue
        if field.value_len == 0 or field.value_len > 64:
            return
        for j in range(field.value_len):
            c = x.head.base[field.value + j]
            if not (c"0" <= c <= c"9" or c"a" <= (c | 32) <= c"z" or c == c"-" or c == c"_" or c == c"."):
                return
        memcpy(x.id, x.head.base + field.value, field.value_len)
        x.id_len = field.value_len
        return


cdef uint8_t exchange_route(Exchange* x, void* trace) noexcept nogil:
    cdef SnapshotState* snapshot = x.snapshot
    cdef Target target
    cdef uint8_t reason
    classify_method(x)
    if x.flags & X_CONNECT:
        return R_CONNECT_NOT_ALLOWED
    reason = _read_target(x)
    if reason != R_NONE or x.path_len == 0:
        return reason
    if _is_method(x, b"TRACE", 5):
        return R_TRACE_NOT_ALLOWED
    target.method = x.head.base + x.request.method.off
    target.method_len = x.request.method.len
    target.host = x.host
    target.host_len = x.host_len
    target.path = x.path
    target.path_len = x.path_len
    target.query = x.head.base + x.query.off
    target.query_len = x.query.len
    target.head = &x.head
    router_find(snapshot.router, &target, &x.match, trace)
    if x.match.route < 0:
        return R_METHOD_NOT_ALLOWED if x.match.route == ROUTE_METHOD else R_NO_ROUTE
    x.plan = &snapshot.plans[x.match.route]
    x.allowance = &x.plan.allowance
    if x.allowance.max_body and x.request.framing == BODY_LENGTH and x.request.length > x.allowance.max_body:
        return R_BODY_TOO_LARGE
    return R_NONE


cdef void allow_upgrade(Exchange* x) noexcept nogil:
    """Only protocols the route names are forwarded; any other Upgrade is a mere offer and is dropped (RFC 9110 section 7.8)."""
    cdef Plan* plan = x.plan
    cdef Field* field = &x.head.fields[x.request.upgrade_field]
    cdef uint32_t i
    if x.request.framing != BODY_NONE:
        return
    for i in range(plan.n_upgrades):
        if plan.upgrades[i].len == field.value_len and same_token(x.head.base + field.value, plan.upgrade_text + plan.upgrades[i].off, field.value_len):
            x.flags |= X_UPGRADE
            return


cdef StepCall* step_due(Exchange* x) noexcept nogil:
    cdef const Steps* steps = &x.plan.steps
    cdef uint32_t i = x.step
    x.step += 1
    if i < steps.n_request:
        return &steps.on_request[i]
    if x.identity.consumer != NULL:
        i -= steps.n_request
        steps = x.identity.consumer.steps
        if i < steps.n_request:
            return &steps.on_request[i]
    return NULL


cdef bint step_goes_on(Exchange* x, const StepCall* call, int verdict) noexcept nogil:
    if verdict == STEP_NEXT:
        if call.then_step:
            x.step = call.then_step
            x.challenges_len = 0
            x.better_reason = R_NONE
        return True
    if call.else_step == 0:
        if x.challenges_len or x.better_reason:
            _add_challenges(x)
        return False
    _keep_challenges(x)
    memset(&x.own, 0, sizeof(x.own))
    x.step = call.else_step
    return True


cdef inline bint _challenges(const Exchange* x) noexcept nogil:
    return not x.own.by_hook and reason_text(x.own.reason).status == 401


cdef void _keep_challenges(Exchange* x) noexcept nogil:
    """What would prove an identity to the alternative that has just refused (RFC 9110 section 11.6.1 lets an answer hold several challenges)."""
    if not _challenges(x):
        return
    if x.better_reason == R_NONE and x.own.reason != R_NO_CREDENTIAL:
        x.better_reason = x.own.reason
    _join(x, x.own.fields, x.own.fields_len)


cdef void _add_challenges(Exchange* x) noexcept nogil:
    if not _challenges(x):
        return
    if x.own.reason == R_NO_CREDENTIAL and x.better_reason:
        x.own.reason = x.better_reason
    if _join(x, x.own.fields, x.own.fields_len):
        x.own.fields = x.challenges
        x.own.fields_len = x.challenges_len


cdef bint _join(Exchange* x, const char* lines, uint32_t n) noexcept nogil:
    """x.challenges with these lines behind them, unless they hold them already. False: there is no memory for that."""
    cdef uint32_t before = x.challenges_len
    cdef ptrdiff_t moved = lines - x.arena if x.arena <= lines < x.arena + x.arena_used else -1
    cdef char* room
    if n == 0 or (before and memmem(x.challenges, before, lines, n) != NULL):
        return True
    room = text_room(x, before + n)
    if room == NULL:
        return False
    if before:
        memcpy(room, x.challenges, before)
    memcpy(room + before, lines if moved < 0 else x.arena + moved, n)
    x.challenges = room
    x.challenges_len = before + n
    return True
