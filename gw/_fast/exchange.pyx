"""An exchange in motion: head, steps, the origin's side, the answer. Bodies move in relay.pyx, heads are written in forward.pyx, life.pyx ends it."""

from libc.errno cimport ECONNREFUSED, EMFILE, ENFILE
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memmove

from gw._fast.answer cimport (
    R_AMBIGUOUS_PATH, R_BODY_TIMEOUT, R_CLIENT_CLOSED, R_CLIENT_IDLE, R_CONNECT_FAILED, R_CONNECT_REFUSED, R_CONNECT_TIMEOUT, R_DNS_FAILED, R_HEAD_TIMEOUT,
    R_HOOK_TIMEOUT, R_INTERNAL, R_NONE, R_NO_ENDPOINT, R_ORIGIN_CLOSED, R_ORIGIN_HEAD_TOO_LARGE, R_ORIGIN_IDLE,
    R_ORIGIN_MALFORMED, R_ORIGIN_TIMEOUT, R_OVERLOADED, R_POOL_FULL, R_TLS_CERTIFICATE, R_TLS_FAILED, R_UNEXPECTED_UPGRADE,
)
from gw._fast.bodies cimport (
    frame_up, gather_up, gathers_up, origin_steps, request_body_step, send_up,
)
from gw._fast.client cimport client_read_ahead, client_close, client_drain_unwanted, client_greet, client_leave, client_refuse, clients_reclaim
from gw._fast.decide cimport allow_upgrade, classify_method, exchange_route, fault_reason, make_id, step_due, step_goes_on, take_trusted_id
from gw._fast.deliver cimport answer_head, answer_steps, down_piece, gather_answer, origin_ended, send_answer
from gw._fast.forward cimport request_head
from gw._fast.greet cimport proxy_header
from gw._fast.h1 cimport (
    FAULT_FIELD_COUNT, FAULT_HEAD_SIZE, H1_BAD, H1_DONE, H1_MORE, MSG_KEEP_ALIVE, MSG_UPGRADE, MSG_WATCHED, body_start, head_start,
    request_feed, response_feed, response_framing,
)
from gw._fast.headers cimport MAX_FIELDS
from gw._fast.life cimport (
    answer_own, answer_plan, client_gone, drop_origin, exchange_abort, exchange_new, parked_too_long, pass_interim, refuse, watches_answer,
)
from gw._fast.out cimport Out, out_init
from gw._fast.pick cimport pick, pick_bit
from gw._fast.plane cimport (
    ACT_FORWARD, BY_CLIENT, BY_ORIGIN, C_BUSY, C_FLUSH, C_HANDSHAKE, C_HEAD, C_IDLE, C_LINGER, C_PROXY, O_BUSY, O_CONNECT, O_HANDSHAKE, STEP_ANSWER, STEP_PARK,
    X_ANSWERED, X_CLOSE, X_DONE_UP, X_FRESH, X_GATHER, X_GATHER_DOWN, X_HEAD_REQUEST, X_HEAD_TIMED, X_IDEMPOTENT, X_KEPT, X_KEPT_DOWN, X_PARKED, X_PARKED_DOWN,
    X_RESPONDING, X_SENT, X_TUNNEL, X_UPGRADE, X_UP_BROKEN, X_UP_DROPPED, X_UP_LEFT, X_WATCHED, LaneState, Plan, Pool, Service, SnapshotState, StepCall,
)
from gw._fast.pool cimport POOL_FULL, POOL_NO_ADDRESS, pool_handshake, pool_open, pool_take
from gw._fast.pump cimport body_cut, body_goes_on, body_refused, origin_drained, pump_up, up_moved
from gw._fast.recall cimport Recall, recall_keep, recall_take
from gw._fast.relay cimport (
    RELAY_BROKEN, RELAY_CUT, RELAY_DONE, RELAY_MORE, keep_answer, next_piece, relay_up,
    rewind_up,
)
from gw._fast.shm cimport endpoint_begin, endpoint_failed, endpoint_ok
from gw._fast.slab cimport Buf, buf_give, buf_take
from gw._fast.stream cimport (
    CONN_DEAD, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, READ_ON, RECV_AGAIN, RECV_EOF, REUSED, RX_SIZE, SEND_DONE, SEND_ERROR, TX_SIZE, clock_us, conn_again,
    conn_connected, conn_flush, conn_read_off, conn_read_on, conn_recv, conn_send, conn_unwatch, conn_watch,
)
from gw._fast.tls cimport TLS_ERROR, TLS_FAIL_CERTIFICATE, TLS_OK, tls_failure
from gw._fast.wheel cimport timer_off, timer_set

cdef enum:
    RETRY_COST = 1000
    RETRY_EARNED = 200              # one retry for five requests: the budget of DESIGN section 10
    RETRY_MOST = 100000             # tokens a service can save up: what is in flight when an endpoint freezes may all go elsewhere


cdef void client_event(Conn* client, uint32_t events) noexcept nogil:
    cdef int code
    if events & EPOLLOUT and client.out != NULL:
        code = conn_flush(client)
        if code == SEND_ERROR:
            client_gone(client)
            return
        if code == SEND_DONE:
            _client_drained(client)
            if client.kind == CONN_DEAD:
                return
        elif client.exchange != NULL:
            timer_set(&client.reactor.wheel, &client.timer, client.reactor.now_ms + (<Exchange*>client.exchange).allowance.idle_ms)
    if events & EPOLLIN and client.flags & READ_ON:
        _client_readable(client)
    elif events & (EPOLLERR | EPOLLHUP):
        client_gone(client)


cdef void _client_readable(Conn* client) noexcept nogil:
    cdef Exchange* x
    if client.state == C_BUSY:
        x = <Exchange*>client.exchange
        if x.flags & (X_SENT | X_DONE_UP | X_UP_BROKEN | X_PARKED_DOWN) == X_SENT and x.origin != NULL:
            pump_up(x)
        elif x.flags & X_GATHER:
            _gather(x)
        else:
            if not client_read_ahead(client):
                client_gone(client)
    elif client.state == C_IDLE or client.state == C_HEAD:
        _read_head(client)
    elif client.state == C_LINGER:
        client_drain_unwanted(client)
    elif client.state == C_HANDSHAKE or client.state == C_PROXY:
        if client_greet(client):
            _read_head(client)
    else:
        conn_read_off(client)


cdef void _client_drained(Conn* client) noexcept nogil:
    """The write queue is empty: go on with whatever waited for that."""
    cdef Exchange* x = <Exchange*>client.exchange
    if client.state == C_FLUSH:
        client_leave(client)
    elif client.state == C_IDLE:
        conn_read_on(client)
        if client.inbuf != NULL:
            conn_again(client)
    elif x != NULL and x.flags & X_KEPT_DOWN:
        send_answer(x, 0)
    elif x != NULL and x.flags & X_ANSWERED and x.origin != NULL:
        timer_off(&client.timer)
        if not x.flags & X_DONE_UP:
            timer_set(&client.reactor.wheel, &client.timer, client.reactor.now_ms + x.allowance.idle_ms)
        timer_set(&client.reactor.wheel, &x.origin.timer, client.reactor.now_ms + x.allowance.idle_ms)
        conn_read_on(x.origin)


# Head

cdef void _read_head(Conn* client) noexcept nogil:
    cdef LaneState* lane = <LaneState*>client.reactor.lane
    cdef Buf* buf = client.inbuf
    cdef ssize_t n
    if buf == NULL:
        buf = buf_take(&client.reactor.slab)
        if buf == NULL:
            client_refuse(client)
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
    cdef Exchange* x = exchange_new(lane, client)
    if x == NULL:
        client_refuse(client)
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
    make_id(x)
    if code == H1_DONE:
        buf.start = x.request.head_len
        _decide(x)
        return
    x.lane.stats.parse_errors += 1
    x.request.method = x.parser.method
    x.request.minor = 1
    classify_method(x)
    x.flags |= X_CLOSE | X_DONE_UP
    buf.start = buf.end
    client.lingers = 1
    refuse(x, fault_reason(x.request.fault))


cdef void _decide(Exchange* x) noexcept nogil:
    cdef SnapshotState* snapshot = x.snapshot
    cdef uint8_t reason
    body_start(&x.up, x.request.framing, x.request.length)
    if x.up.done:
        x.flags |= X_DONE_UP
    if not x.request.flags & MSG_KEEP_ALIVE or (snapshot.max_requests and x.client.served + 1 >= snapshot.max_requests):
        x.flags |= X_CLOSE
    if x.client.trusted and snapshot.id_name_len:
        take_trusted_id(x)
    reason = exchange_route(x, NULL)
    if reason != R_NONE:
        if x.path_len == 0:
            x.flags |= X_CLOSE      # what could not be read once is not read on
        refuse(x, reason)
    elif x.path_len == 0:
        x.own.status = 200          # OPTIONS *: asked of gw itself (RFC 9110 section 9.3.7)
        answer_own(x)
    elif x.lane.shedding:
        refuse(x, R_OVERLOADED)
    else:
        _run_steps(x)


# Steps

cdef void _run_steps(Exchange* x) noexcept nogil:
    cdef Plan* plan = x.plan
    cdef StepCall* call = step_due(x)
    cdef int verdict
    while call != NULL:
        verdict = call.run(call.self, x)
        if verdict == STEP_PARK:
            _park(x, call)
            return
        if not step_goes_on(x, call, verdict):
            answer_own(x)
            return
        call = step_due(x)
    if x.request.flags & (MSG_UPGRADE | MSG_WATCHED):
        if plan.action == ACT_FORWARD and x.request.flags & MSG_UPGRADE:
            allow_upgrade(x)
        if x.request.flags & MSG_WATCHED and gathers_up(x):
            _gather(x)
            return
    _carry_out(x)


cdef void _park(Exchange* x, StepCall* call) noexcept nogil:
    x.parked_at = call
    x.flags |= X_PARKED
    timer_set(&x.client.reactor.wheel, &x.client.timer, x.lane.reactor.now_ms + (x.park.wait_ms if x.park.leave != NULL else x.snapshot.hook_ms))


cdef inline void _carry_out(Exchange* x) noexcept nogil:
    if x.plan.action == ACT_FORWARD:
        _start_origin(x, R_NO_ENDPOINT)
    else:
        answer_plan(x)


cdef void _gather(Exchange* x) noexcept nogil:
    """The request's body, until steps may see it whole."""
    cdef Conn* client = x.client
    cdef int code = gather_up(x)
    if code == RELAY_MORE:
        body_goes_on(x)
    elif code == RELAY_DONE:
        timer_off(&client.timer)
        conn_read_on(client)
        _body_steps(x)
    elif code == RELAY_CUT:
        body_cut(x, True)
    elif code == RELAY_BROKEN:
        client_gone(client)
    else:
        body_refused(x, code)


cdef void _body_steps(Exchange* x) noexcept nogil:
    cdef StepCall* call = request_body_step(x)
    cdef int verdict
    while call != NULL:
        verdict = call.run(call.self, x)
        if verdict == STEP_PARK:
            _park(x, call)
            return
        if verdict == STEP_ANSWER:
            answer_own(x)
            return
        call = request_body_step(x)
    if frame_up(x):
        _carry_out(x)
    else:
        refuse(x, R_OVERLOADED)


cdef void exchange_resume(Exchange* x, int verdict) noexcept nogil:
    cdef bint down = x.flags & X_PARKED_DOWN != 0
    x.flags &= ~(X_PARKED | X_PARKED_DOWN)
    timer_off(&x.client.timer)
    if down and verdict == STEP_ANSWER:
        refuse(x, x.own.reason)        # it failed: what it was to see to must not pass
    elif down:
        # The request's body waited as well.
        if x.flags & X_UP_BROKEN or x.flags & (X_DONE_UP | X_UP_LEFT) == X_DONE_UP or x.origin.out != NULL or origin_drained(x):
            answer_steps(x)
    elif not step_goes_on(x, x.parked_at, verdict):
        answer_own(x)
    elif x.bodies != NULL and x.bodies.up.whole:
        _body_steps(x)
    else:
        _run_steps(x)


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
            refuse(x, reason)
            return
        pool = service.pools[x.choice]
        conn = NULL if x.flags & X_FRESH else pool_take(pool)
        if conn == NULL:
            conn = pool_open(pool, origin_event, origin_timeout, x.allowance.connect_ms, &error)
            if conn == NULL and error in (EMFILE, ENFILE) and clients_reclaim(lane):
                conn = pool_open(pool, origin_event, origin_timeout, x.allowance.connect_ms, &error)
        if conn != NULL:
            break
        if error > 0 and x.addresses + 1 < <int>pool.n_addresses:
            x.addresses += 1
            continue
        x.addresses = 0
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
        elif code == SEND_DONE and not x.flags & X_PARKED_DOWN and not origin_drained(x):
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
    """No byte of the request left: any method may try another address of the endpoint, then another endpoint."""
    cdef Service* service = x.plan.service
    if x.addresses + 1 < <int>service.pools[x.choice].n_addresses:
        x.addresses += 1
        x.attempts -= 1
        drop_origin(x, False)
        _start_origin(x, reason)
        return
    x.addresses = 0
    endpoint_failed(service.pools[x.choice].state, x.lane.reactor.now_ms, service.fails, service.eject_ms)
    x.tried |= pick_bit(x.choice)
    drop_origin(x, False)
    if x.attempts <= service.retries:
        x.plan.stats.retries += 1
        _start_origin(x, reason)
    else:
        refuse(x, reason)


cdef void _send_request(Exchange* x) noexcept nogil:
    cdef Conn* origin = x.origin
    cdef Conn* client = x.client
    cdef LaneState* lane = x.lane
    cdef Buf* buf = client.inbuf
    cdef Out out
    cdef uint32_t used = 0, n
    cdef int code
    if x.flags & X_WATCHED and not origin_steps(x):
        refuse(x, x.own.reason)
        return
    out_init(&out, lane.reactor.tx, TX_SIZE - RX_SIZE - 16384)
    request_head(x, &out)
    if out.full:
        refuse(x, R_AMBIGUOUS_PATH if x.path_code else R_INTERNAL)
        return
    x.flags |= X_SENT
    x.sent_us = lane.reactor.now_us
    head_start(&x.answer_parser, &x.answer_head, MAX_FIELDS)
    n = <uint32_t>(out.p - out.start)
    if x.flags & (X_DONE_UP | X_KEPT) == X_DONE_UP:
        code = RELAY_BROKEN if conn_send(origin, out.start, n) == SEND_ERROR else RELAY_DONE
    elif x.flags & X_KEPT:
        code = send_up(x, n)
    elif buf.start < buf.end:
        code = relay_up(x, n, buf.data + buf.start, next_piece(buf), &used)
        buf.start += used
    else:
        code = RELAY_BROKEN if conn_send(origin, out.start, n) == SEND_ERROR else RELAY_MORE
    conn_read_on(origin)
    up_moved(x, code)


# From the origin

cdef void _origin_readable(Exchange* x) noexcept nogil:
    cdef Conn* origin = x.origin
    cdef char* base = x.lane.reactor.rx
    cdef uint32_t room = RX_SIZE
    cdef uint32_t have = 0
    cdef ssize_t n
    if watches_answer(x) and x.lane.reactor.slab.cap < RX_SIZE:
        room = x.lane.reactor.slab.cap      # it must fit the buffer that outlives a waiting step
    if x.answer_buf != NULL and not x.flags & X_ANSWERED:
        if x.flags & X_GATHER_DOWN:
            gather_answer(x)
            return
        have = x.answer_buf.end
        base = x.answer_buf.data
        room = x.answer_buf.cap if x.answer_buf.cap - have < RX_SIZE else have + RX_SIZE
    n = conn_recv(origin, base + have, room - have)
    if n == RECV_AGAIN:
        return
    if x.flags & X_ANSWERED:
        if n > 0:
            down_piece(x, 0, base, <uint32_t>n)
        else:
            origin_ended(x, n == RECV_EOF)
        return
    if n <= 0:
        _origin_lost(x, R_ORIGIN_CLOSED)
        return
    _answer_more(x, base, have + <uint32_t>n)


cdef inline int _read_answer(Exchange* x, char* base, uint32_t end) noexcept nogil:
    cdef Recall* recall = &(<Pool*>x.origin.owner).recall
    cdef uint32_t most = x.lane.reactor.slab.cap - 1
    cdef bint fresh = not x.answer_parser.primed
    cdef int code
    if fresh and recall_take(recall, &x.answer_parser, base, end, most, &x.answer):
        return H1_DONE
    code = response_feed(&x.answer_parser, base, end, most, &x.answer)
    if fresh and code == H1_DONE:
        recall_keep(recall, &x.lane.reactor.slab, &x.answer_parser, end, &x.answer)
    return code


cdef void _answer_more(Exchange* x, char* base, uint32_t end) noexcept nogil:
    cdef int code
    while True:
        code = _read_answer(x, base, end)
        if code == H1_MORE:
            if not keep_answer(x, base, end):
                refuse(x, R_OVERLOADED if x.answer_buf == NULL else R_ORIGIN_HEAD_TOO_LARGE)
            return
        if code == H1_BAD:
            refuse(x, R_ORIGIN_HEAD_TOO_LARGE if x.answer.fault in (FAULT_HEAD_SIZE, FAULT_FIELD_COUNT) else R_ORIGIN_MALFORMED)
            return
        if x.answer.status >= 200 or x.answer.status == 101:
            break
        if not pass_interim(x):
            return
        base += x.answer.head_len
        end -= x.answer.head_len
        head_start(&x.answer_parser, &x.answer_head, MAX_FIELDS)
        if end == 0:
            if x.answer_buf != NULL:
                x.answer_buf.end = 0
            return
    _answer_begin(x, base, end)


cdef void _answer_begin(Exchange* x, char* base, uint32_t end) noexcept nogil:
    cdef bint to_head = x.flags & X_HEAD_REQUEST != 0
    x.answered_us = x.lane.reactor.now_us
    x.status = x.answer.status
    x.by = BY_ORIGIN
    endpoint_ok(x.plan.service.pools[x.choice].state)
    if x.answer.status == 101:
        if not x.flags & X_UPGRADE or x.answer.upgrade_field < 0:
            refuse(x, R_UNEXPECTED_UPGRADE)
            return
    response_framing(&x.answer, to_head, False)
    body_start(&x.down, x.answer.framing, x.answer.length)
    if watches_answer(x):
        # A response step may wait, and a done step may still look: what was read moves to a buffer of the exchange.
        if not keep_answer(x, base, end):
            refuse(x, R_OVERLOADED if x.answer_buf == NULL else R_ORIGIN_HEAD_TOO_LARGE)
            return
        x.answer_head.base = x.answer_buf.data
        x.flags |= X_RESPONDING
        x.step = 0
        answer_steps(x)
        return
    answer_head(x, base + x.answer.head_len, end - x.answer.head_len)


cdef void _origin_lost(Exchange* x, uint8_t reason) noexcept nogil:
    """Nothing of an answer came. Again elsewhere if the request may be repeated and is still whole (RFC 9110 section 9.2.2)."""
    cdef Service* service = x.plan.service
    cdef Pool* pool = <Pool*>x.origin.owner
    cdef bint reused = x.origin.flags & REUSED != 0 and reason == R_ORIGIN_CLOSED
    cdef bint whole = x.answer_buf == NULL and x.answer_parser.fed == 0 and not x.flags & X_UP_DROPPED
    if not reused:
        endpoint_failed(pool.state, x.lane.reactor.now_ms, service.fails, service.eject_ms)
        x.tried |= pick_bit(x.choice)
    drop_origin(x, True)
    if not whole or not x.flags & X_IDEMPOTENT or (not reused and (x.attempts > service.retries or service.retry_tokens < RETRY_COST)) or x.attempts > service.retries + 2:
        refuse(x, reason)
        return
    if reused:
        x.flags |= X_FRESH
    else:
        service.retry_tokens -= RETRY_COST
    x.plan.stats.retries += 1
    rewind_up(x)
    _start_origin(x, reason)


# Time-outs

cdef void client_timeout(Conn* client, uint32_t events) noexcept nogil:
    cdef Exchange* x = <Exchange*>client.exchange
    (<LaneState*>client.reactor.lane).stats.timeouts += x == NULL or x.park.leave == NULL
    if x == NULL:
        client_close(client)
    elif client.state == C_HEAD:
        client.state = C_BUSY
        make_id(x)
        x.request.minor = 1
        x.request.method = x.parser.method
        classify_method(x)          # an answer to HEAD has no body, whatever it says
        x.flags |= X_CLOSE | X_DONE_UP
        client.inbuf.start = client.inbuf.end
        client.lingers = 1
        refuse(x, R_HEAD_TIMEOUT)
    elif x.flags & X_PARKED:
        parked_too_long(x)
    elif client.out != NULL:
        exchange_abort(x, BY_CLIENT, R_CLIENT_IDLE)
    elif not x.flags & X_DONE_UP:
        x.flags |= X_CLOSE
        client.lingers = 1
        refuse(x, R_BODY_TIMEOUT)
    elif x.flags & X_TUNNEL:
        exchange_abort(x, BY_CLIENT, R_CLIENT_IDLE)


cdef void origin_timeout(Conn* origin, uint32_t events) noexcept nogil:
    cdef Exchange* x = <Exchange*>origin.exchange
    if origin.state == O_CONNECT or origin.state == O_HANDSHAKE:
        _origin_unreachable(x, R_CONNECT_TIMEOUT)
    elif x.flags & X_PARKED_DOWN:
        refuse(x, R_HOOK_TIMEOUT)
    elif x.flags & X_KEPT_DOWN:
        return                              # it has given all it had: the client's time counts
    elif x.flags & X_ANSWERED:
        exchange_abort(x, BY_ORIGIN, R_ORIGIN_IDLE)
    else:
        _origin_lost(x, R_ORIGIN_TIMEOUT)
