"""Life of an exchange, top to bottom: head, route, steps, origin, answer, end. Bodies move in relay.pyx, heads are written in forward.pyx."""
from libc.errno cimport ECONNREFUSED, EMFILE, ENFILE
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcpy, memmove, memset

from gw._fast.answer cimport (
    R_AMBIGUOUS_LENGTH, R_AMBIGUOUS_PATH, R_BAD_REQUEST, R_BODY_TIMEOUT, R_BODY_TOO_LARGE, R_CLIENT_CLOSED, R_CLIENT_IDLE, R_CONNECT_FAILED, R_CONNECT_NOT_ALLOWED,
    R_CONNECT_REFUSED, R_CONNECT_TIMEOUT, R_DNS_FAILED, R_EXPECTATION_FAILED, R_HEAD_TIMEOUT, R_HEAD_TOO_LARGE, R_INTERNAL, R_INVALID_HOST, R_INVALID_PATH,
    R_MALFORMED_BODY, R_MALFORMED_HEAD, R_METHOD_NOT_ALLOWED, R_MISSING_HOST, R_NO_ENDPOINT, R_NO_ROUTE, R_NONE, R_ORIGIN_BODY_MALFORMED, R_ORIGIN_CLOSED, R_ORIGIN_CUT,
    R_ORIGIN_HEAD_TOO_LARGE, R_ORIGIN_IDLE, R_ORIGIN_MALFORMED, R_ORIGIN_TIMEOUT, R_OVERLOADED, R_POOL_FULL, R_REQUEST_LINE_TOO_LONG, R_TLS_CERTIFICATE, R_TLS_FAILED,
    R_TOO_MANY_FIELDS, R_TRACE_NOT_ALLOWED, R_TRAILERS_TOO_LARGE, R_UNEXPECTED_UPGRADE, R_UNSUPPORTED_TRANSFER_CODING, R_UNSUPPORTED_VERSION, plain_answer,
    problem_answer, reason_text, redirect_answer,
)
from gw._fast.forward cimport address_trusted, interim_head, request_head, response_head
from gw._fast.greet cimport GREET_BAD, GREET_DONE, proxy_greeting, proxy_header
from gw._fast.h1 cimport (
    BODY_CHUNKED, BODY_EOF, BODY_LENGTH, BODY_NONE, FAULT_CHUNK, FAULT_CODING, FAULT_CODING_UNKNOWN, FAULT_EXPECT, FAULT_FIELD_COUNT, FAULT_HEAD_SIZE, FAULT_HOST,
    FAULT_HOST_MISSING, FAULT_LENGTH, FAULT_LINE_SIZE, FAULT_TRAILER, FAULT_VERSION, H1_BAD, H1_DONE, H1_MORE, MSG_EXPECT, MSG_KEEP_ALIVE, MSG_UPGRADE, body_start,
    head_start, host_valid, request_feed, response_feed, response_framing,
)
from gw._fast.headers cimport MAX_FIELDS, Field, Span, Target, same_token
from gw._fast.out cimport Out, out_init
from gw._fast.path cimport PATH_E_ABOVE_ROOT, PATH_E_DOUBLE, PATH_E_ENCODED_SLASH, PATH_E_HIDDEN_DOTS, PATH_E_OVERLONG, PATH_E_PARAMETER, path_normalise
from gw._fast.pick cimport pick, pick_bit
from gw._fast.plane cimport (
    ACT_FORWARD, ACT_REDIRECT, ACT_RESPOND, BY_CLIENT, BY_GATEWAY, BY_ORIGIN, C_BUSY, C_FLUSH, C_HANDSHAKE, C_HEAD, C_IDLE, C_LINGER, C_PROXY, C_TUNNEL, O_BUSY, O_CONNECT,
    O_HANDSHAKE, O_TUNNEL, PATH_INLINE, STEP_ANSWER, STEP_NEXT, STEP_PARK, X_ANSWERED, X_CHUNK_OUT, X_CLOSE, X_CONNECT, X_DONE_UP, X_ENDED, X_EOF_OUT, X_FRESH, X_HEAD_TIMED,
    X_HEAD_REQUEST, X_IDEMPOTENT, X_PARKED, X_PARKED_DOWN, X_SENT, X_TUNNEL, X_UPGRADE, X_UP_BROKEN, X_UP_DROPPED, LaneState, Listener, Plan, Pool, Service, SnapshotState,
)
from gw._fast.pool cimport POOL_FULL, POOL_NO_ADDRESS, pool_drop, pool_give, pool_handshake, pool_open, pool_take
from gw._fast.radix cimport ROUTE_METHOD, ROUTE_NONE, router_find
from gw._fast.record cimport record
from gw._fast.relay cimport RELAY_BAD, RELAY_BROKEN, RELAY_DONE, RELAY_MORE, RELAY_STALL, RELAY_TOO_LARGE, relay_down, relay_down_end, relay_up, swallow_up
from gw._fast.shm cimport endpoint_begin, endpoint_end, endpoint_failed, endpoint_ok
from gw._fast.slab cimport Buf, buf_give, buf_take
from gw._fast.stream cimport (
    BROKEN, CONN_DEAD, PEER_EOF, READ_ON, RECV_AGAIN, RECV_EOF, REUSED, RX_SIZE, SEND_DONE, SEND_ERROR, SEND_QUEUED, TLS_OPEN, TLS_READ_WRITES, TX_SIZE, clock_us,
    conn_abort, conn_again, conn_close, conn_connected, conn_flush, conn_read_off, conn_read_on, conn_recv, conn_send, conn_shut, conn_unwatch, conn_watch,
)
from gw._fast.tls cimport TLS_ERROR, TLS_FAIL_CERTIFICATE, TLS_OK, TLS_WANT_WRITE, tls_accept, tls_failure, tls_handshake
from gw._fast.tunnel cimport tunnel_begin
from gw._fast.wheel cimport timer_off, timer_set

cdef extern from "sys/epoll.h" nogil:
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP

cdef enum:
    SPARE_EXCHANGES = 1024
    LINGER_BYTES = 1048576          # drained of an unwanted body before the connection is cut
    RETRY_COST = 1000
    RETRY_EARNED = 200              # one retry for five requests: the budget of DESIGN section 10
    RETRY_MOST = 20000              # tokens a service can save up
    RECLAIM_SCAN = 1024             # connections looked at to find idle ones
    RECLAIM_MOST = 32


# Beginning and end

cdef Exchange* _new(LaneState* lane, Conn* client) noexcept nogil:
    cdef Exchange* x = lane.spare
    cdef Exchange saved
    if x != NULL:
        lane.spare = x.next
        lane.n_spare -= 1
        saved.generation = x.generation
        saved.origin_edits = x.origin_edits
        saved.client_edits = x.client_edits
        saved.arena = x.arena
        saved.arena_cap = x.arena_cap
        memset(x, 0, <size_t>(<char*>&x.id - <char*>x))
        x.generation = saved.generation + 1
        x.origin_edits = saved.origin_edits
        x.client_edits = saved.client_edits
        x.arena = saved.arena
        x.arena_cap = saved.arena_cap
        x.origin_edits.n = 0
        x.client_edits.n = 0
    else:
        x = <Exchange*>calloc(1, sizeof(Exchange))
        if x == NULL:
            return NULL
    x.lane = lane
    x.client = client
    x.snapshot = lane.snapshot
    x.snapshot.users += 1
    x.plan = &x.snapshot.nowhere
    x.started_us = lane.reactor.now_us
    x.choice = -1
    x.secure = client.ssl != NULL
    head_start(&x.parser, &x.head, x.snapshot.max_fields)
    lane.n_exchanges += 1
    client.exchange = x
    return x


cdef void _free(Exchange* x) noexcept nogil:
    cdef LaneState* lane = x.lane
    if x.path_buf != NULL:
        buf_give(&lane.reactor.slab, x.path_buf)
    if x.trailers != NULL:
        buf_give(&lane.reactor.slab, x.trailers)
    if x.answer_buf != NULL:
        buf_give(&lane.reactor.slab, x.answer_buf)
    if x.view != NULL or x.parked != NULL:
        lane.release_python(x)
    x.snapshot.users -= 1
    x.generation += 1
    x.flags = X_ENDED
    lane.n_exchanges -= 1
    if lane.n_spare >= SPARE_EXCHANGES:
        free(x.origin_edits.items)
        free(x.client_edits.items)
        free(x.arena)
        free(x)
        return
    x.next = lane.spare
    lane.spare = x
    lane.n_spare += 1


cdef void exchange_free_spares(Exchange* spare) noexcept nogil:
    cdef Exchange* x
    while spare != NULL:
        x = spare
        spare = x.next
        free(x.origin_edits.items)
        free(x.client_edits.items)
        free(x.arena)
        free(x)


cdef void _drop_origin(Exchange* x, bint abort) noexcept nogil:
    if x.origin != NULL:
        _leave(x)
        pool_drop(<Pool*>x.origin.owner, x.origin, abort)
        x.origin = NULL


cdef inline void _leave(Exchange* x) noexcept nogil:
    cdef Pool* pool = x.plan.service.pools[x.choice]
    endpoint_end(pool.state, pool.share)


cdef void _end(Exchange* x) noexcept nogil:
    """Writes it down and gives everything back; the client connection is the caller's."""
    record(x)
    x.client.exchange = NULL
    _free(x)


cdef void exchange_abort(Exchange* x, uint8_t by, uint8_t reason) noexcept nogil:
    cdef Conn* client = x.client
    cdef bint hard
    if not x.by or by == BY_CLIENT:
        x.by = by
    x.reason = reason
    if not x.status:
        x.status = reason_text(reason).status
    _drop_origin(x, True)
    # A cut must be visible. Chunked or sized answers are visibly short; one that ends with the connection needs a reset.
    hard = by == BY_CLIENT or x.flags & X_EOF_OUT
    client.flags |= BROKEN
    _end(x)
    if hard:
        client_abort(client)
    else:
        client_close(client)


cdef void _finish(Exchange* x) noexcept nogil:
    """The answer left whole."""
    cdef Conn* client = x.client
    cdef Conn* origin = x.origin
    cdef bint close = x.flags & X_CLOSE != 0 or not x.flags & X_DONE_UP
    if origin != NULL:
        if x.answer.flags & MSG_KEEP_ALIVE and x.flags & X_DONE_UP and not x.flags & X_UP_BROKEN and not x.junk:
            _leave(x)
            x.origin = NULL
            pool_give(<Pool*>origin.owner, origin)
        else:
            _drop_origin(x, False)
    _end(x)
    _client_next(client, close)


# The client's connection

cdef void client_close(Conn* client) noexcept nogil:
    cdef LaneState* lane = <LaneState*>client.reactor.lane
    if client.kind == CONN_DEAD:
        return
    client.prev.next = client.next
    client.next.prev = client.prev
    lane.n_clients -= 1
    (<Listener*>client.owner).n_conns -= 1
    conn_close(client)


cdef bint clients_reclaim(LaneState* lane) noexcept nogil:
    """Descriptors are out: the oldest idle connections make room (a client reopens one without noticing). False when there were none."""
    cdef Conn* conn = lane.clients.next
    cdef Conn* following
    cdef uint32_t seen = 0, closed = 0
    while conn != &lane.clients and seen < RECLAIM_SCAN and closed < RECLAIM_MOST:
        following = conn.next
        seen += 1
        if conn.state == C_IDLE and conn.exchange == NULL and conn.out == NULL and conn.inbuf == NULL:
            client_close(conn)
            closed += 1
        conn = following
    return closed > 0


cdef void client_abort(Conn* client) noexcept nogil:
    """Cut so that the peer notices: an answer that ends with the connection must not look whole."""
    cdef LaneState* lane = <LaneState*>client.reactor.lane
    if client.kind == CONN_DEAD:
        return
    client.prev.next = client.next
    client.next.prev = client.prev
    lane.n_clients -= 1
    (<Listener*>client.owner).n_conns -= 1
    conn_abort(client)


cdef void _client_next(Conn* client, bint close) noexcept nogil:
    cdef LaneState* lane = <LaneState*>client.reactor.lane
    cdef Buf* buf = client.inbuf
    client.served += 1
    if close:
        if client.out != NULL:
            client.state = C_FLUSH
            conn_read_off(client)
            timer_set(&client.reactor.wheel, &client.timer, client.reactor.now_ms + lane.snapshot.head_ms)
        else:
            _client_leave(client)
        return
    client.state = C_IDLE
    if buf != NULL and buf.start == buf.end:
        buf_give(&client.reactor.slab, buf)
        client.inbuf = NULL
        buf = NULL
    if client.flags & PEER_EOF and buf == NULL:
        if client.out != NULL:
            client.state = C_FLUSH
        else:
            client_close(client)
        return
    timer_set(&client.reactor.wheel, &client.timer, client.reactor.now_ms + lane.snapshot.keep_alive_ms)
    if client.out != NULL:
        conn_read_off(client)       # an answer still leaves: the next request waits for it
        return
    conn_read_on(client)
    if buf != NULL:
        conn_again(client)


cdef void _client_leave(Conn* client) noexcept nogil:
    """Close; drain first what the peer may still send, or the kernel answers it with a reset that can overtake our answer."""
    cdef LaneState* lane = <LaneState*>client.reactor.lane
    if client.flags & PEER_EOF or client.inbuf == NULL or (client.inbuf.start == client.inbuf.end and not client.lingers):
        client_close(client)
        return
    conn_shut(client)
    client.state = C_LINGER
    buf_give(&client.reactor.slab, client.inbuf)
    client.inbuf = NULL
    client.out_bytes = 0
    timer_set(&client.reactor.wheel, &client.timer, client.reactor.now_ms + lane.snapshot.linger_ms)
    conn_read_on(client)


cdef void client_event(Conn* client, uint32_t events) noexcept nogil:
    cdef int code
    if events & EPOLLOUT and client.out != NULL:
        code = conn_flush(client)
        if code == SEND_ERROR:
            _client_gone(client)
            return
        if code == SEND_DONE:
            _client_drained(client)
            if client.kind == CONN_DEAD:
                return
        elif client.exchange != NULL:
            timer_set(&client.reactor.wheel, &client.timer, client.reactor.now_ms + (<Exchange*>client.exchange).plan.idle_ms)
    if events & EPOLLIN and client.flags & READ_ON:
        _client_readable(client)
    elif events & (EPOLLERR | EPOLLHUP):
        _client_gone(client)


cdef void _client_readable(Conn* client) noexcept nogil:
    cdef Exchange* x
    if client.state == C_BUSY:
        x = <Exchange*>client.exchange
        if x.flags & (X_SENT | X_DONE_UP | X_UP_BROKEN) == X_SENT and x.origin != NULL:
            _pump_up(x)
        else:
            _read_ahead(client)
    elif client.state == C_IDLE or client.state == C_HEAD:
        _read_head(client)
    elif client.state == C_LINGER:
        _drain_unwanted(client)
    elif client.state == C_HANDSHAKE or client.state == C_PROXY:
        _greet(client)
    else:
        conn_read_off(client)


cdef void _client_gone(Conn* client) noexcept nogil:
    if client.exchange != NULL:
        exchange_abort(<Exchange*>client.exchange, BY_CLIENT, R_CLIENT_CLOSED)
    else:
        client_close(client)


cdef void _client_drained(Conn* client) noexcept nogil:
    """The write queue is empty: go on with whatever waited for that."""
    cdef Exchange* x = <Exchange*>client.exchange
    if client.state == C_FLUSH:
        _client_leave(client)
    elif client.state == C_IDLE:
        conn_read_on(client)
        if client.inbuf != NULL:
            conn_again(client)
    elif x != NULL and x.flags & X_ANSWERED and x.origin != NULL:
        timer_off(&client.timer)
        if not x.flags & X_DONE_UP:
            timer_set(&client.reactor.wheel, &client.timer, client.reactor.now_ms + x.plan.idle_ms)
        timer_set(&client.reactor.wheel, &x.origin.timer, client.reactor.now_ms + x.plan.idle_ms)
        conn_read_on(x.origin)


cdef void _drain_unwanted(Conn* client) noexcept nogil:
    cdef ssize_t n = conn_recv(client, client.reactor.rx, RX_SIZE)
    if n == RECV_AGAIN:
        return
    if n > 0:
        client.out_bytes += n       # the queue is empty by now: its counter counts what was drained
    if n <= 0 or client.out_bytes > LINGER_BYTES:
        client_close(client)


cdef void _greet(Conn* client) noexcept nogil:
    """PROXY protocol header and TLS handshake, before the first request."""
    cdef int code
    if client.state == C_PROXY:
        code = proxy_greeting(client)
        if code == GREET_BAD:
            client_close(client)
            return
        if code != GREET_DONE:
            return
        client.trusted = address_trusted((<LaneState*>client.reactor.lane).snapshot, client.addr, client.addr_len)
        client.state = C_HANDSHAKE if (<Listener*>client.owner).tls != NULL else C_IDLE
        if client.state == C_HANDSHAKE:
            client.ssl = tls_accept((<Listener*>client.owner).tls, client.fd)
            if client.ssl == NULL:
                client_close(client)
                return
    if client.state == C_HANDSHAKE and not _shake(client):
        return
    _read_head(client)


cdef bint _shake(Conn* client) noexcept nogil:
    cdef LaneState* lane = <LaneState*>client.reactor.lane
    cdef int code = tls_handshake(client.ssl)
    if code == TLS_OK:
        lane.stats.tls_handshakes += 1
        client.flags |= TLS_OPEN
        client.state = C_IDLE
        timer_set(&client.reactor.wheel, &client.timer, client.reactor.now_ms + lane.snapshot.head_ms)
        return True
    if code == TLS_ERROR:
        lane.stats.tls_failures += 1
        client_close(client)
        return False
    if code == TLS_WANT_WRITE:
        client.flags |= TLS_READ_WRITES
        conn_watch(client)
    return False


# Head

cdef void _read_head(Conn* client) noexcept nogil:
    cdef LaneState* lane = <LaneState*>client.reactor.lane
    cdef Buf* buf = client.inbuf
    cdef ssize_t n
    if buf == NULL:
        buf = buf_take(&client.reactor.slab)
        if buf == NULL:
            client_close(client)
            return
        client.inbuf = buf
    elif client.state == C_IDLE and buf.start < buf.end:
        _begin(client)
        return
    n = conn_recv(client, buf.data + buf.end, buf.cap - buf.end)
    if n > 0:
        buf.end += <uint32_t>n
        if client.state == C_IDLE:
            _begin(client)
        else:
            _head_more(<Exchange*>client.exchange)
        return
    if n == RECV_AGAIN:
        if buf.start == buf.end and client.state == C_IDLE:
            buf_give(&client.reactor.slab, buf)
            client.inbuf = NULL
        return
    if client.exchange != NULL:
        lane.stats.parse_errors += 1
        exchange_abort(<Exchange*>client.exchange, BY_CLIENT, R_CLIENT_CLOSED)
    else:
        client_close(client)


cdef void _begin(Conn* client) noexcept nogil:
    cdef LaneState* lane = <LaneState*>client.reactor.lane
    cdef Buf* buf = client.inbuf
    cdef Exchange* x = _new(lane, client)
    if x == NULL:
        client_close(client)
        return
    if buf.start:
        memmove(buf.data, buf.data + buf.start, buf.end - buf.start)
        buf.end -= buf.start
        buf.start = 0
    client.state = C_HEAD
    x.started_us = client.reactor.now_us
    _head_more(x)


cdef void _head_more(Exchange* x) noexcept nogil:
    cdef Conn* client = x.client
    cdef Buf* buf = client.inbuf
    cdef SnapshotState* snapshot = x.snapshot
    cdef int code = request_feed(&x.parser, buf.data, 0, buf.end, snapshot.max_head, snapshot.max_line, &x.request)
    if code == H1_MORE:
        if not x.flags & X_HEAD_TIMED:
            x.flags |= X_HEAD_TIMED
            timer_set(&client.reactor.wheel, &client.timer, client.reactor.now_ms + snapshot.head_ms)
        return
    timer_off(&client.timer)
    client.state = C_BUSY
    _make_id(x)
    if code == H1_DONE:
        buf.start = x.request.head_len
        _decide(x)
        return
    x.lane.stats.parse_errors += 1
    x.request.method = x.parser.method
    x.request.minor = 1
    x.flags |= X_CLOSE | X_DONE_UP
    buf.start = buf.end
    client.lingers = 1
    _refuse(x, fault_reason(x.request.fault))


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


cdef void _make_id(Exchange* x) noexcept nogil:
    """128 bits as hex from xorshift128+, seeded by the kernel: unique, not secret."""
    cdef const char* hexdigits = b"0123456789abcdef"
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
        for i in range(16):
            x.id[half * 16 + i] = hexdigits[(word >> (60 - 4 * i)) & 15]
    x.id_len = 32


# Decision

cdef bint _is_method(const Exchange* x, const char* name, uint32_t n) noexcept nogil:
    cdef uint32_t i
    if x.request.method.len != n:
        return False
    for i in range(n):
        if x.head.base[x.request.method.off + i] != name[i]:
            return False
    return True


cdef void _classify_method(Exchange* x) noexcept nogil:
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
        if authority.len and not host_valid(x.head.base + authority.off, authority.len, x.host, &x.host_len):
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


cdef uint8_t _settle_host(Exchange* x, Span authority) noexcept nogil:
    cdef const char* text = x.head.base + authority.off
    cdef uint32_t i
    if authority.len > 255 or (authority.len and not host_valid(text, authority.len, x.host, &x.host_len)):
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
        if x.path_buf == NULL or n >= x.path_buf.cap:
            return R_INVALID_PATH
        room = x.path_buf.data
    code = path_normalise(raw, n, room, x.snapshot.path_flags)
    if code < 0:
        x.path_code = code
        return R_AMBIGUOUS_PATH if code in (PATH_E_ENCODED_SLASH, PATH_E_PARAMETER, PATH_E_HIDDEN_DOTS, PATH_E_ABOVE_ROOT, PATH_E_DOUBLE, PATH_E_OVERLONG) else R_INVALID_PATH
    x.path = room
    x.path_len = <uint32_t>code
    return R_NONE


cdef void _take_trusted_id(Exchange* x) noexcept nogil:
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
    _classify_method(x)
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
    if x.plan.max_body and x.request.framing == BODY_LENGTH and x.request.length > x.plan.max_body:
        return R_BODY_TOO_LARGE
    return R_NONE


cdef void _decide(Exchange* x) noexcept nogil:
    cdef SnapshotState* snapshot = x.snapshot
    cdef uint8_t reason
    body_start(&x.up, x.request.framing, x.request.length)
    if x.up.done:
        x.flags |= X_DONE_UP
    if not x.request.flags & MSG_KEEP_ALIVE or (snapshot.max_requests and x.client.served + 1 >= snapshot.max_requests):
        x.flags |= X_CLOSE
    if x.client.trusted and snapshot.id_name_len:
        _take_trusted_id(x)
    reason = exchange_route(x, NULL)
    if reason != R_NONE:
        if x.path_len == 0:
            x.flags |= X_CLOSE      # what could not be read once is not read on
        _refuse(x, reason)
    elif x.path_len == 0:
        x.own.status = 200          # OPTIONS *: asked of gw itself (RFC 9110 section 9.3.7)
        _answer_own(x)
    elif x.lane.shedding:
        _refuse(x, R_OVERLOADED)
    else:
        _run_steps(x)


# Steps

cdef void _run_steps(Exchange* x) noexcept nogil:
    cdef Plan* plan = x.plan
    cdef uint32_t i
    cdef int verdict
    while x.step < plan.n_request:
        i = x.step
        x.step += 1
        verdict = plan.on_request[i].run(plan.on_request[i].self, x)
        if verdict == STEP_ANSWER:
            _answer_own(x)
            return
        if verdict == STEP_PARK:
            x.flags |= X_PARKED
            return
    if plan.action == ACT_FORWARD:
        if x.request.flags & MSG_UPGRADE:
            _check_upgrade(x)
        _start_origin(x, R_NO_ENDPOINT)
    else:
        _answer_plan(x)


cdef void exchange_resume(Exchange* x, int verdict) noexcept nogil:
    cdef bint down = x.flags & X_PARKED_DOWN != 0
    x.flags &= ~(X_PARKED | X_PARKED_DOWN)
    if down:
        _answer_steps(x)
    elif verdict == STEP_ANSWER:
        _answer_own(x)
    else:
        _run_steps(x)


cdef void _check_upgrade(Exchange* x) noexcept nogil:
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


# Towards the origin

cdef void _start_origin(Exchange* x, uint8_t reason) noexcept nogil:
    """Takes or opens a connection to the next endpoint; answers with `reason` when none is left."""
    cdef Service* service = x.plan.service
    cdef LaneState* lane = x.lane
    cdef Pool* pool
    cdef Conn* conn
    cdef int error = 0
    if service.retry_tokens < RETRY_MOST and x.attempts == 0:
        service.retry_tokens += RETRY_EARNED
    while True:
        x.choice = pick(&service.picker, lane.reactor.now_ms, x.tried)
        if x.choice < 0:
            _refuse(x, reason)
            return
        pool = service.pools[x.choice]
        conn = NULL if x.flags & X_FRESH else pool_take(pool)
        if conn == NULL:
            conn = pool_open(pool, origin_event, origin_timeout, x.plan.connect_ms, &error)
            if conn == NULL and error in (EMFILE, ENFILE) and clients_reclaim(lane):
                conn = pool_open(pool, origin_event, origin_timeout, x.plan.connect_ms, &error)
        if conn != NULL:
            break
        x.tried |= pick_bit(x.choice)
        x.attempts += 1
        if error == POOL_NO_ADDRESS:
            reason = R_DNS_FAILED
        elif error == POOL_FULL:
            reason = R_POOL_FULL
        else:
            endpoint_failed(pool.state, lane.reactor.now_ms, service.fails, service.eject_ms)
            reason = R_CONNECT_REFUSED if error == ECONNREFUSED else R_CONNECT_FAILED
        x.choice = -1
    x.attempts += 1
    x.flags &= ~X_FRESH
    x.origin = conn
    conn.exchange = x
    conn.on_event = origin_event
    conn.on_timeout = origin_timeout
    endpoint_begin(pool.state, pool.share)
    if conn.state == O_BUSY:
        _send_request(x)


cdef void origin_event(Conn* origin, uint32_t events) noexcept nogil:
    cdef Exchange* x = <Exchange*>origin.exchange
    cdef int code
    if origin.state != O_BUSY:
        _origin_opening(x)
        return
    if events & EPOLLOUT and origin.out != NULL:
        code = conn_flush(origin)
        if code == SEND_ERROR:
            x.flags |= X_UP_BROKEN          # it may have answered before it closed: read that first
            conn_watch(origin)
        elif code == SEND_DONE and not _origin_drained(x):
            return
    if events & EPOLLIN and origin.flags & READ_ON:
        _origin_readable(x)
    elif events & (EPOLLERR | EPOLLHUP):
        if origin.flags & READ_ON:
            _origin_readable(x)
        else:
            conn_unwatch(origin)            # paused with the end in sight: epoll would report it without pause


cdef void _origin_opening(Exchange* x) noexcept nogil:
    cdef Conn* origin = x.origin
    cdef Pool* pool = <Pool*>origin.owner
    cdef int code
    if origin.state == O_CONNECT:
        code = conn_connected(origin)
        if code:
            _origin_unreachable(x, R_CONNECT_REFUSED if code == ECONNREFUSED else R_CONNECT_FAILED)
            return
        if pool.proxy_out and not proxy_header(x.client, origin.fd, pool.proxy_out):
            _origin_unreachable(x, R_CONNECT_FAILED)
            return
    if pool.tls != NULL:
        code = pool_handshake(origin)
        if code == TLS_ERROR:
            _origin_unreachable(x, R_TLS_CERTIFICATE if origin.ssl != NULL and tls_failure(origin.ssl) == TLS_FAIL_CERTIFICATE else R_TLS_FAILED)
            return
        if code != TLS_OK:
            return
    x.connect_us = clock_us() - origin.since_us
    origin.state = O_BUSY
    timer_off(&origin.timer)
    _send_request(x)


cdef void _origin_unreachable(Exchange* x, uint8_t reason) noexcept nogil:
    """No byte of the request left: any method may try another endpoint."""
    cdef Service* service = x.plan.service
    endpoint_failed(service.pools[x.choice].state, x.lane.reactor.now_ms, service.fails, service.eject_ms)
    x.tried |= pick_bit(x.choice)
    _drop_origin(x, False)
    if x.attempts <= service.retries:
        x.plan.stats.retries += 1
        _start_origin(x, reason)
    else:
        _refuse(x, reason)


cdef void _send_request(Exchange* x) noexcept nogil:
    cdef Conn* origin = x.origin
    cdef Conn* client = x.client
    cdef LaneState* lane = x.lane
    cdef Buf* buf = client.inbuf
    cdef Out out
    cdef uint32_t used = 0, n
    cdef int code
    out_init(&out, lane.reactor.tx, TX_SIZE - RX_SIZE - 16384)
    request_head(x, &out)
    if out.full:
        _refuse(x, R_INTERNAL)
        return
    x.flags |= X_SENT
    x.sent_us = lane.reactor.now_us
    head_start(&x.answer_parser, &x.answer_head, MAX_FIELDS)
    n = <uint32_t>(out.p - out.start)
    if x.flags & X_DONE_UP:
        code = RELAY_BROKEN if conn_send(origin, out.start, n) == SEND_ERROR else RELAY_DONE
    elif buf.start < buf.end:
        code = relay_up(x, n, buf.data + buf.start, buf.end - buf.start, &used)
        buf.start += used
    else:
        code = RELAY_BROKEN if conn_send(origin, out.start, n) == SEND_ERROR else RELAY_MORE
    conn_read_on(origin)
    _up_moved(x, code)


cdef void _pump_up(Exchange* x) noexcept nogil:
    """One read of the client's body on its way, from the kept bytes first."""
    cdef Conn* client = x.client
    cdef Buf* buf = client.inbuf
    cdef char* data = client.reactor.rx
    cdef uint32_t used = 0
    cdef uint32_t room
    cdef ssize_t n
    cdef size_t want
    cdef int code
    if buf.start < buf.end:
        code = relay_up(x, 0, buf.data + buf.start, buf.end - buf.start, &used)
        buf.start += used
        _up_moved(x, code)
        return
    if client.flags & PEER_EOF:
        _body_cut(x, True)
        return
    x.flags |= X_UP_DROPPED
    buf.start = x.request.head_len
    buf.end = buf.start
    room = buf.cap - buf.end
    # Never read more than the body and what there is room to keep of the request behind it.
    want = room
    if x.up.framing == BODY_LENGTH:
        want = RX_SIZE if x.up.left + room > RX_SIZE else <size_t>x.up.left + room
    elif want > RX_SIZE:
        want = RX_SIZE
    n = conn_recv(client, data, want)
    if n == RECV_AGAIN:
        return
    if n <= 0:
        _body_cut(x, n == RECV_EOF)
        return
    code = relay_up(x, 0, data, <uint32_t>n, &used)
    if used < n and code != RELAY_BAD:
        memcpy(buf.data + buf.end, data + used, n - used)
        buf.end += <uint32_t>(n - used)
    _up_moved(x, code)


cdef void _body_cut(Exchange* x, bint clean) noexcept nogil:
    """The client ended its side inside the body: it may still read why that cannot be served."""
    if clean and not x.flags & (X_ANSWERED | X_PARKED):
        x.client.flags |= PEER_EOF
        x.up.fault = FAULT_CHUNK
        _refuse(x, R_MALFORMED_BODY)
    else:
        _client_gone(x.client)


cdef void _up_moved(Exchange* x, int code) noexcept nogil:
    cdef Conn* client = x.client
    cdef Conn* origin = x.origin
    cdef int64_t now = x.lane.reactor.now_ms
    x.bytes_in = x.up.seen
    if code == RELAY_DONE:
        if x.up.framing != BODY_NONE:
            timer_off(&client.timer)
        x.flags |= X_DONE_UP
        timer_set(&client.reactor.wheel, &origin.timer, now + x.plan.answer_ms)
        if client.inbuf.end - client.inbuf.start == client.inbuf.cap:
            conn_read_off(client)
        else:
            conn_read_on(client)
    elif code == RELAY_MORE:
        timer_off(&origin.timer)
        timer_set(&client.reactor.wheel, &client.timer, now + x.plan.idle_ms)
        conn_read_on(client)
        if client.inbuf.start < client.inbuf.end or client.flags & PEER_EOF:
            conn_again(client)
    elif code == RELAY_STALL:
        timer_off(&client.timer)
        conn_read_off(client)
        timer_set(&client.reactor.wheel, &origin.timer, now + x.plan.idle_ms)
    elif code == RELAY_BROKEN:
        x.flags |= X_UP_BROKEN
        conn_read_off(client)
        timer_set(&client.reactor.wheel, &origin.timer, now + x.plan.answer_ms)
    else:
        client.lingers = 1
        x.flags |= X_CLOSE
        _refuse(x, R_BODY_TOO_LARGE if code == RELAY_TOO_LARGE else fault_reason(x.up.fault))


cdef bint _origin_drained(Exchange* x) noexcept nogil:
    """The request's queue is empty. False when the exchange ended in here."""
    cdef uint32_t generation = x.generation
    if x.flags & X_DONE_UP:
        timer_set(&x.lane.reactor.wheel, &x.origin.timer, x.lane.reactor.now_ms + x.plan.answer_ms)
        return True
    timer_off(&x.origin.timer)
    if x.client.inbuf.start < x.client.inbuf.end:
        _pump_up(x)
        return x.generation == generation and x.origin != NULL
    conn_read_on(x.client)
    timer_set(&x.lane.reactor.wheel, &x.client.timer, x.lane.reactor.now_ms + x.plan.idle_ms)
    return True


cdef void _read_ahead(Conn* client) noexcept nogil:
    """Bytes behind the current request, or of a body the origin is not ready for: kept up to one buffer."""
    cdef Buf* buf = client.inbuf
    cdef ssize_t n
    if buf.end == buf.cap:
        conn_read_off(client)
        return
    n = conn_recv(client, buf.data + buf.end, buf.cap - buf.end)
    if n > 0:
        buf.end += <uint32_t>n
    elif n == RECV_EOF:
        client.flags |= PEER_EOF
        conn_watch(client)                  # a half-close: it still wants its answer
    elif n != RECV_AGAIN:
        _client_gone(client)


# From the origin

cdef void _origin_readable(Exchange* x) noexcept nogil:
    cdef Conn* origin = x.origin
    cdef char* base = x.lane.reactor.rx
    cdef uint32_t room = RX_SIZE
    cdef uint32_t have = 0
    cdef ssize_t n
    if x.plan.n_response:
        room = x.lane.reactor.slab.cap      # it must fit the buffer that outlives a waiting step
    if x.answer_buf != NULL and not x.flags & X_ANSWERED:
        have = x.answer_buf.end
        base = x.answer_buf.data
        room = x.answer_buf.cap
    n = conn_recv(origin, base + have, room - have)
    if n == RECV_AGAIN:
        return
    if x.flags & X_ANSWERED:
        if n > 0:
            _down_piece(x, 0, base, <uint32_t>n)
        else:
            _origin_ended(x, n == RECV_EOF)
        return
    if n <= 0:
        _origin_lost(x, R_ORIGIN_CLOSED)
        return
    _answer_more(x, base, have + <uint32_t>n)


cdef void _answer_more(Exchange* x, char* base, uint32_t end) noexcept nogil:
    cdef int code
    while True:
        code = response_feed(&x.answer_parser, base, end, x.lane.reactor.slab.cap - 1, &x.answer)
        if code == H1_MORE:
            _keep_answer(x, base, end)
            return
        if code == H1_BAD:
            _drop_origin(x, True)
            _refuse(x, R_ORIGIN_HEAD_TOO_LARGE if x.answer.fault in (FAULT_HEAD_SIZE, FAULT_FIELD_COUNT) else R_ORIGIN_MALFORMED)
            return
        if x.answer.status >= 200 or x.answer.status == 101:
            break
        if not _interim(x):
            return
        base += x.answer.head_len
        end -= x.answer.head_len
        head_start(&x.answer_parser, &x.answer_head, MAX_FIELDS)
        if end == 0:
            if x.answer_buf != NULL:
                x.answer_buf.end = 0
            return
    _answer_begin(x, base, end)


cdef void _keep_answer(Exchange* x, char* base, uint32_t end) noexcept nogil:
    """Part of a head: it must outlive the read buffer. It may already lie in the kept one, behind an interim answer."""
    if x.answer_buf == NULL:
        x.answer_buf = buf_take(&x.lane.reactor.slab)
        if x.answer_buf == NULL or end > x.answer_buf.cap:
            _drop_origin(x, True)
            _refuse(x, R_ORIGIN_HEAD_TOO_LARGE)
            return
    if x.answer_buf.data != base:
        memmove(x.answer_buf.data, base, end)
    x.answer_buf.end = end


cdef bint _interim(Exchange* x) noexcept nogil:
    """1xx: passed to clients that can take it, 100 only when asked for. False when the client is gone."""
    cdef Out out
    if x.request.minor == 0 or (x.answer.status == 100 and not x.request.flags & MSG_EXPECT) or x.client.out != NULL:
        return True
    out_init(&out, x.lane.reactor.tx, TX_SIZE)
    interim_head(x, &out)
    if not out.full and conn_send(x.client, out.start, out.p - out.start) == SEND_ERROR:
        _client_gone(x.client)
        return False
    return True


cdef void _answer_begin(Exchange* x, char* base, uint32_t end) noexcept nogil:
    cdef bint to_head = x.flags & X_HEAD_REQUEST != 0
    x.answered_us = x.lane.reactor.now_us
    x.status = x.answer.status
    x.by = BY_ORIGIN
    endpoint_ok(x.plan.service.pools[x.choice].state)
    if x.answer.status == 101:
        if not x.flags & X_UPGRADE or x.answer.upgrade_field < 0:
            x.by = 0
            _drop_origin(x, True)
            _refuse(x, R_UNEXPECTED_UPGRADE)
            return
    response_framing(&x.answer, to_head, False)
    body_start(&x.down, x.answer.framing, x.answer.length)
    if x.plan.n_response:
        # A response step may wait: what was read moves to a buffer of the exchange.
        _keep_answer(x, base, end)
        x.answer_head.base = x.answer_buf.data
        x.step = 0
        _answer_steps(x)
        return
    _answer_head(x, base + x.answer.head_len, end - x.answer.head_len)


cdef void _answer_steps(Exchange* x) noexcept nogil:
    cdef Plan* plan = x.plan
    cdef uint32_t i
    cdef Buf* buf = x.answer_buf
    while x.step < plan.n_response:
        i = x.step
        x.step += 1
        if plan.on_response[i].run(plan.on_response[i].self, x) == STEP_PARK:
            x.flags |= X_PARKED_DOWN
            conn_read_off(x.origin)
            timer_off(&x.origin.timer)
            return
    conn_read_on(x.origin)
    _answer_head(x, buf.data + x.answer.head_len, buf.end - x.answer.head_len)


cdef void _choose_framing(Exchange* x) noexcept nogil:
    """How the answer ends for this client (RFC 9112 section 6.3)."""
    if x.answer.framing == BODY_CHUNKED or x.answer.framing == BODY_EOF:
        if x.request.minor:
            x.flags |= X_CHUNK_OUT
        else:
            x.flags |= X_EOF_OUT | X_CLOSE
    if not x.flags & X_DONE_UP or x.lane.draining:
        x.flags |= X_CLOSE
        x.client.lingers = not x.flags & X_DONE_UP


cdef void _answer_head(Exchange* x, char* rest, uint32_t n) noexcept nogil:
    cdef Out out
    if x.answer.status != 101:
        _choose_framing(x)
    out_init(&out, x.lane.reactor.tx, TX_SIZE - RX_SIZE - 16384)
    response_head(x, &out)
    if out.full:
        x.by = 0
        _drop_origin(x, True)
        _refuse(x, R_ORIGIN_HEAD_TOO_LARGE)
        return
    x.flags |= X_ANSWERED
    if x.answer.status == 101:
        timer_off(&x.client.timer)
        tunnel_begin(x, <uint32_t>(out.p - out.start), rest, n)
        return
    _down_piece(x, <uint32_t>(out.p - out.start), rest, n)


cdef void _down_piece(Exchange* x, uint32_t head_n, char* data, uint32_t n) noexcept nogil:
    cdef Conn* client = x.client
    cdef uint32_t used = 0
    cdef int code = relay_down(x, head_n, data, n, &used)
    if code == RELAY_DONE:
        x.junk = used < n
        _finish(x)
    elif code == RELAY_MORE:
        timer_set(&client.reactor.wheel, &x.origin.timer, client.reactor.now_ms + x.plan.idle_ms)
    elif code == RELAY_STALL:
        conn_read_off(x.origin)
        timer_off(&x.origin.timer)
        timer_set(&client.reactor.wheel, &client.timer, client.reactor.now_ms + x.plan.idle_ms)
    elif code == RELAY_BROKEN:
        _client_gone(client)
    else:
        exchange_abort(x, BY_ORIGIN, R_ORIGIN_BODY_MALFORMED)


cdef void _origin_ended(Exchange* x, bint clean) noexcept nogil:
    """The origin closed inside the body: the end of it, or a cut that the client must be able to see."""
    if x.down.framing == BODY_EOF and clean:
        if relay_down_end(x, 0) == RELAY_BROKEN:
            _client_gone(x.client)
        else:
            _finish(x)
    else:
        exchange_abort(x, BY_ORIGIN, R_ORIGIN_CUT)


cdef void _origin_lost(Exchange* x, uint8_t reason) noexcept nogil:
    """Nothing of an answer came. Again elsewhere if the request may be repeated and is still whole (RFC 9110 section 9.2.2)."""
    cdef Service* service = x.plan.service
    cdef Pool* pool = <Pool*>x.origin.owner
    cdef bint reused = x.origin.flags & REUSED != 0 and reason == R_ORIGIN_CLOSED
    cdef bint whole = x.answer_buf == NULL and x.answer_parser.fed == 0 and not x.flags & X_UP_DROPPED
    if not reused:
        endpoint_failed(pool.state, x.lane.reactor.now_ms, service.fails, service.eject_ms)
        x.tried |= pick_bit(x.choice)
    _drop_origin(x, True)
    if not whole or not x.flags & X_IDEMPOTENT or (not reused and (x.attempts > service.retries or service.retry_tokens < RETRY_COST)) or x.attempts > service.retries + 2:
        _refuse(x, reason)
        return
    if reused:
        x.flags |= X_FRESH
    else:
        service.retry_tokens -= RETRY_COST
    x.plan.stats.retries += 1
    _rewind(x)
    _start_origin(x, reason)


cdef void _rewind(Exchange* x) noexcept nogil:
    """The body, all of it still in the buffer behind the head, is sent from its start again."""
    x.flags &= ~(X_SENT | X_UP_BROKEN)
    if x.request.framing != BODY_NONE:
        x.flags &= ~X_DONE_UP
        x.client.inbuf.start = x.request.head_len
        body_start(&x.up, x.request.framing, x.request.length)


# Answers of our own

cdef void _settle_body(Exchange* x) noexcept nogil:
    """Takes the rest of the request's body from what was read; if more is to come, the connection closes after the answer."""
    cdef Buf* buf = x.client.inbuf
    cdef uint32_t used = 0
    if x.flags & X_DONE_UP:
        return
    if not x.up.fault and swallow_up(x, buf.data + buf.start, buf.end - buf.start, &used) == RELAY_DONE:
        buf.start += used
        x.flags |= X_DONE_UP
        return
    buf.start = buf.end
    x.flags |= X_CLOSE
    x.client.lingers = 1


cdef bint _send_own(Exchange* x, Out* out) noexcept nogil:
    x.flags |= X_ANSWERED
    x.answered_us = x.lane.reactor.now_us
    if out.full or conn_send(x.client, out.start, out.p - out.start) == SEND_ERROR:
        _client_gone(x.client)
        return False
    return True


cdef void _prepare_own(Exchange* x, Out* out) noexcept nogil:
    cdef Plan* plan = x.plan
    cdef uint32_t i
    _settle_body(x)
    if x.lane.draining:
        x.flags |= X_CLOSE
    x.by = BY_GATEWAY
    x.answer_head.n_fields = 0
    x.answer.status = x.status
    # Response steps see answers of our own too (CORS, security headers); they cannot wait here.
    for i in range(plan.n_response):
        plan.on_response[i].run(plan.on_response[i].self, x)
    out_init(out, x.lane.reactor.tx, TX_SIZE)


cdef void _refuse(Exchange* x, uint8_t reason) noexcept nogil:
    cdef Out out
    if x.flags & X_ANSWERED:
        exchange_abort(x, BY_GATEWAY, reason)
        return
    _drop_origin(x, True)
    x.reason = reason
    x.status = reason_text(reason).status
    _prepare_own(x, &out)
    problem_answer(x, reason, &out)
    if _send_own(x, &out):
        _finish(x)


cdef void _answer_own(Exchange* x) noexcept nogil:
    """x.own: set by a hook, or by us for OPTIONS *."""
    cdef Out out
    if x.own.reason:
        _refuse(x, x.own.reason)
        return
    x.status = x.own.status
    _prepare_own(x, &out)
    plain_answer(x, &out)
    if _send_own(x, &out):
        _finish(x)


cdef void _answer_plan(Exchange* x) noexcept nogil:
    cdef Out out
    cdef Plan* plan = x.plan
    x.status = plan.status
    _prepare_own(x, &out)
    if plan.action == ACT_REDIRECT:
        redirect_answer(x, &out)
    else:
        x.own.status = plan.status
        x.own.fields = plan.fields
        x.own.fields_len = plan.fields_len
        x.own.body = plan.body
        x.own.body_len = plan.body_len
        plain_answer(x, &out)
    if _send_own(x, &out):
        _finish(x)


# Time-outs

cdef void client_timeout(Conn* client, uint32_t events) noexcept nogil:
    cdef Exchange* x = <Exchange*>client.exchange
    if x == NULL:
        client_close(client)
    elif client.state == C_HEAD:
        client.state = C_BUSY
        _make_id(x)
        x.request.minor = 1
        x.request.method = x.parser.method
        x.flags |= X_CLOSE | X_DONE_UP
        client.inbuf.start = client.inbuf.end
        client.lingers = 1
        _refuse(x, R_HEAD_TIMEOUT)
    elif client.out != NULL:
        exchange_abort(x, BY_CLIENT, R_CLIENT_IDLE)
    elif not x.flags & X_DONE_UP:
        x.flags |= X_CLOSE
        client.lingers = 1
        _refuse(x, R_BODY_TIMEOUT)
    elif x.flags & X_TUNNEL:
        exchange_abort(x, BY_CLIENT, R_CLIENT_IDLE)


cdef void origin_timeout(Conn* origin, uint32_t events) noexcept nogil:
    cdef Exchange* x = <Exchange*>origin.exchange
    if origin.state == O_CONNECT or origin.state == O_HANDSHAKE:
        _origin_unreachable(x, R_CONNECT_TIMEOUT)
    elif x.flags & X_ANSWERED:
        exchange_abort(x, BY_ORIGIN, R_ORIGIN_IDLE)
    else:
        _origin_lost(x, R_ORIGIN_TIMEOUT)


cdef void exchange_tunnel_ended(Exchange* x) noexcept nogil:
    cdef Conn* client = x.client
    _drop_origin(x, False)
    _end(x)
    client_close(client)
