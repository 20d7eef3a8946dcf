from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy, strlen

from gw._fast.answer cimport R_CLIENT_CLOSED, reason_text
from gw._fast.forward cimport client_address
from gw._fast.headers cimport head_find
from gw._fast.hist cimport hist_add
from gw._fast.logbuf cimport LogBuf, log_commit, log_escape, log_ms, log_pending, log_reserve, log_time, log_u64
from gw._fast.plane cimport BY_CLIENT, BY_GATEWAY, BY_ORIGIN, X_TUNNEL, Identity, LaneState, Plan, Pool, Steps
from gw._fast.shm cimport RouteStats
from gw._fast.stream cimport clock_us
from gw._fast.tls cimport tls_peer, tls_protocol

cdef enum:
    LINE_FIXED = 2048       # names, numbers and punctuation of a line, with room to spare
    PEER_MAX = 1024         # bytes of the name a client's certificate proves


cdef void record(Exchange* x) noexcept nogil:
    cdef LaneState* lane = x.lane
    cdef Plan* plan = x.plan
    cdef RouteStats* stats = plan.stats
    cdef int64_t now = clock_us()
    lane.stats.requests += 1
    stats.requests[x.status // 100 if x.status < 600 else 5] += 1
    stats.bytes_in += x.bytes_in
    stats.bytes_out += x.bytes_out
    hist_add(&stats.latency, (x.answered_us if x.flags & X_TUNNEL else now) - x.started_us)
    if x.by == BY_ORIGIN:
        hist_add(&stats.origin, x.answered_us - x.sent_us)
        stats.upgrades += x.status == 101
    elif x.by == BY_GATEWAY:
        stats.by_gateway += 1
    if x.reason:
        stats.by_reason[x.reason - 1] += 1
        stats.client_closed += x.reason == R_CLIENT_CLOSED
    if x.identity.consumer != NULL:
        _done(x, x.identity.consumer.steps)
    _done(x, &plan.steps)
    if lane.log != NULL and x.snapshot.log:
        _write_line(x, now)


cdef inline void _done(Exchange* x, const Steps* steps) noexcept nogil:
    cdef uint32_t i
    for i in range(steps.n_done):
        steps.on_done[i].run(steps.on_done[i].self, x)


cdef inline char* _text(char* out, const char* literal, uint32_t n) noexcept nogil:
    memcpy(out, literal, n)
    return out + n


cdef char* _field(char* out, const char* name, uint32_t name_len, const char* value, uint32_t n) noexcept nogil:
    ""","name":"value" with the value escaped."""
    out = _text(out, name, name_len)
    out = log_escape(out, value, n)
    out[0] = c'"'
    return out + 1


cdef uint32_t _value_of(Exchange* x, const char* name, uint32_t name_len, const char** value) noexcept nogil:
    cdef int i = head_find(&x.head, name, name_len, 0) if x.request.head_len else -1
    if i < 0:
        return 0
    value[0] = x.head.base + x.head.fields[i].value
    return x.head.fields[i].value_len


cdef void _write_line(Exchange* x, int64_t now) noexcept nogil:
    cdef LaneState* lane = x.lane
    cdef LogBuf* log = lane.log
    cdef const char* agent = NULL
    cdef const char* referer = NULL
    cdef const char* client
    cdef const char* path = x.path
    cdef uint32_t path_len = x.path_len
    cdef uint32_t agent_len = _value_of(x, b"user-agent", 10, &agent)
    cdef uint32_t referer_len = _value_of(x, b"referer", 7, &referer)
    cdef uint32_t client_len = 0
    cdef char peer[PEER_MAX]
    cdef uint32_t peer_len = 0
    cdef size_t outside         # bytes that others chose: each may be escaped to six
    cdef char* line
    cdef char* p
    if path_len == 0:
        # The head was refused before its path was understood: what was sent, escaped.
        path = x.head.base + x.request.target.off
        path_len = x.request.target.len
    if x.secure:
        peer_len = <uint32_t>tls_peer(x.client.ssl, peer, sizeof(peer))
    outside = <size_t>path_len + x.query.len + agent_len + referer_len + x.request.method.len + x.host_len + peer_len + x.identity.subject_len + x.identity.credential_len
    line = log_reserve(log, LINE_FIXED + x.plan.name_len + 6 * outside)
    if line == NULL:
        return
    if log_pending(log) == 0:
        lane.log_since_ms = lane.reactor.now_ms
    client = client_address(x, &client_len)
    p = _text(line, b'{"time":"', 9)
    p = log_time(log, p)
    p = _field(p, b'","request_id":"', 16, x.id, x.id_len)
    p = _field(p, b',"client":"', 11, client, client_len)
    p = _field(p, b',"method":"', 11, x.head.base + x.request.method.off, x.request.method.len)
    p = _text(p, b',"scheme":"https"' if x.secure else b',"scheme":"http"', 17 if x.secure else 16)
    p = _field(p, b',"host":"', 9, x.host, x.host_len)
    p = _field(p, b',"path":"', 9, path, path_len)
    if x.has_query:
        p = _field(p, b',"query":"', 10, x.head.base + x.query.off, x.query.len)
    p = _text(p, b',"protocol":"HTTP/1.1","status":' if x.request.minor else b',"protocol":"HTTP/1.0","status":', 32)
    p = log_u64(p, x.status)
    p = _outcome(x, p)
    p = _numbers(x, p, now)
    if x.secure:
        p = _connection(x, p, peer, peer_len)
    if x.identity.method != NULL:
        p = _caller(p, &x.identity)
    if agent_len:
        p = _field(p, b',"user_agent":"', 15, agent, agent_len)
    if referer_len:
        p = _field(p, b',"referer":"', 12, referer, referer_len)
    p = _text(p, b"}\n", 2)
    log_commit(log, p - line)


cdef char* _outcome(Exchange* x, char* p) noexcept nogil:
    cdef Plan* plan = x.plan
    cdef Pool* pool
    if x.by == BY_ORIGIN:
        p = _text(p, b',"by":"origin"', 14)
    elif x.by == BY_GATEWAY:
        p = _text(p, b',"by":"gateway"', 15)
    elif x.by == BY_CLIENT:
        p = _text(p, b',"by":"client"', 14)
    if x.reason:
        p = _text(p, b',"reason":"', 11)
        p = _text(p, reason_text(x.reason).name, reason_text(x.reason).name_len)
        p = _text(p, b'"', 1)
    if x.dry_reason:
        p = _text(p, b',"dry_run":"', 12)
        p = _text(p, reason_text(x.dry_reason).name, reason_text(x.dry_reason).name_len)
        p = _text(p, b'"', 1)
    if plan.name_len:
        p = _text(p, b',"route":"', 10)
        p = _text(p, plan.name, plan.name_len)
        p = _text(p, b'"', 1)
    if plan.service != NULL:
        p = _text(p, b',"service":"', 12)
        p = _text(p, plan.service.name, plan.service.name_len)
        p = _text(p, b'"', 1)
        if x.choice >= 0:
            pool = plan.service.pools[x.choice]
            p = _text(p, b',"endpoint":"', 13)
            p = _text(p, pool.key, pool.key_len)
            p = _text(p, b'"', 1)
    return p


cdef char* _numbers(Exchange* x, char* p, int64_t now) noexcept nogil:
    p = _text(p, b',"bytes_in":', 12)
    p = log_u64(p, x.bytes_in)
    p = _text(p, b',"bytes_out":', 13)
    p = log_u64(p, x.bytes_out)
    p = _text(p, b',"duration_ms":', 15)
    p = log_ms(p, now - x.started_us)
    if x.by == BY_ORIGIN:
        p = _text(p, b',"origin_ms":', 13)
        p = log_ms(p, x.answered_us - x.sent_us)
    if x.connect_us:
        p = _text(p, b',"connect_ms":', 14)
        p = log_ms(p, x.connect_us)
    if x.attempts > 1:
        p = _text(p, b',"retries":', 11)
        p = log_u64(p, x.attempts - 1)
    return p


cdef char* _connection(Exchange* x, char* p, const char* peer, uint32_t peer_len) noexcept nogil:
    cdef const char* protocol = tls_protocol(x.client.ssl)
    p = _field(p, b',"tls":"', 8, protocol, <uint32_t>strlen(protocol))
    return _field(p, b',"tls_client":"', 15, peer, peer_len) if peer_len else p


cdef char* _caller(char* p, const Identity* who) noexcept nogil:
    p = _field(p, b',"auth":"', 9, who.method, who.method_len)
    if who.consumer != NULL:
        p = _field(p, b',"consumer":"', 13, who.consumer.name, who.consumer.name_len)
    if who.subject_len:
        p = _field(p, b',"subject":"', 12, who.subject, who.subject_len)
    if who.credential_len:
        p = _field(p, b',"credential":"', 15, who.credential, who.credential_len)
    return p
