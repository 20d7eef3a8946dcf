"""Birth and end of exchanges, and the answers that gw makes itself."""

from libc.stdint cimport uint32_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from gw._fast.answer cimport R_CLIENT_CLOSED, R_HOOK_TIMEOUT, plain_answer, problem_answer, reason_text, redirect_answer
from gw._fast.client cimport client_abort, client_close, client_next
from gw._fast.forward cimport interim_head
from gw._fast.h1 cimport MSG_EXPECT, MSG_KEEP_ALIVE, head_start
from gw._fast.out cimport Out, out_init
from gw._fast.plane cimport (
    ACT_REDIRECT, BY_CLIENT, BY_GATEWAY, STEP_ANSWER, X_ANSWERED, X_CLOSE, X_DONE_UP, X_ENDED, X_EOF_OUT, X_RESPONDING, X_UP_BROKEN, X_UP_LEFT, LaneState, Plan, Pool,
)
from gw._fast.pool cimport pool_drop, pool_give
from gw._fast.record cimport record
from gw._fast.relay cimport RELAY_BAD, RELAY_DONE, next_piece, swallow_up
from gw._fast.shm cimport endpoint_end
from gw._fast.slab cimport SPARES, Buf, buf_give, slab_has_room
from gw._fast.step cimport holds_end
from gw._fast.stream cimport BROKEN, SEND_ERROR, TX_SIZE, conn_send

cdef enum:
    SPARE_EXCHANGES = 1024
    ARENA_KEPT = 16384              # text of a hook's edits; the room of a large answer is given back


cdef Exchange* exchange_new(LaneState* lane, Conn* client) noexcept nogil:
    cdef Exchange* x = lane.spare
    cdef Exchange saved
    if x != NULL:
        lane.spare = x.next
        lane.n_spare -= 1
        saved.origin_edits = x.origin_edits
        saved.client_edits = x.client_edits
        saved.holds = x.holds
        saved.arena = x.arena
        saved.arena_cap = x.arena_cap
        memset(x, 0, <size_t>(<char*>&x.id - <char*>x))
        x.origin_edits = saved.origin_edits
        x.client_edits = saved.client_edits
        x.holds = saved.holds
        x.arena = saved.arena
        x.arena_cap = saved.arena_cap
        x.origin_edits.n = 0
        x.client_edits.n = 0
    else:
        x = <Exchange*>calloc(1, sizeof(Exchange)) if slab_has_room(&lane.reactor.slab, sizeof(Exchange)) else NULL
        if x == NULL:
            return NULL
        lane.reactor.slab.held[0] += sizeof(Exchange)
    x.lane = lane
    x.client = client
    x.snapshot = lane.snapshot
    x.snapshot.users += 1
    x.plan = &x.snapshot.nowhere
    x.allowance = &x.plan.allowance
    x.started_us = lane.reactor.now_us
    x.choice = -1
    x.secure = client.ssl != NULL
    head_start(&x.parser, &x.head, x.snapshot.max_fields)
    lane.n_exchanges += 1
    client.exchange = x
    return x


cdef void _free(Exchange* x) noexcept nogil:
    cdef LaneState* lane = x.lane
    if x.holds.n:
        holds_end(x)
    if x.path_buf != NULL:
        buf_give(&lane.reactor.slab, x.path_buf)
    if x.trailers != NULL:
        buf_give(&lane.reactor.slab, x.trailers)
    if x.answer_buf != NULL:
        buf_give(&lane.reactor.slab, x.answer_buf)
    if x.identity.release != NULL:
        x.identity.release(x.identity.held)
    if x.park.leave != NULL:
        x.park.leave(x, True)
    if x.view != NULL or x.parked != NULL:
        lane.release_python(x)
    x.snapshot.users -= 1
    x.flags = X_ENDED
    lane.n_exchanges -= 1
    if lane.n_spare >= SPARES * SPARE_EXCHANGES:
        _free_memory(x)
        return
    if x.arena_cap > ARENA_KEPT:
        free(x.arena)
        x.arena = NULL
        x.arena_cap = 0
    x.next = lane.spare
    lane.spare = x
    lane.n_spare += 1


cdef void _free_memory(Exchange* x) noexcept nogil:
    x.lane.reactor.slab.held[0] -= sizeof(Exchange)
    free(x.origin_edits.items)
    free(x.client_edits.items)
    free(x.holds.items)
    free(x.arena)
    free(x)


cdef void exchange_free_spares(LaneState* lane) noexcept nogil:
    cdef Exchange* x
    while lane.spare != NULL:
        x = lane.spare
        lane.spare = x.next
        _free_memory(x)
    lane.n_spare = 0


cdef void drop_origin(Exchange* x, bint abort) noexcept nogil:
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
    drop_origin(x, True)
    # A cut must be visible. Chunked or sized answers are visibly short; one that ends with the connection needs a reset.
    hard = by == BY_CLIENT or x.flags & X_EOF_OUT
    client.flags |= BROKEN
    _end(x)
    if hard:
        client_abort(client)
    else:
        client_close(client)


cdef void exchange_finish(Exchange* x) noexcept nogil:
    """The answer left whole."""
    cdef Conn* client = x.client
    cdef Conn* origin = x.origin
    cdef bint close = x.flags & X_CLOSE != 0 or not x.flags & X_DONE_UP
    if origin != NULL:
        if x.answer.flags & MSG_KEEP_ALIVE and x.flags & X_DONE_UP and not x.flags & (X_UP_BROKEN | X_UP_LEFT) and not x.junk:
            _leave(x)
            x.origin = NULL
            pool_give(<Pool*>origin.owner, origin)
        else:
            drop_origin(x, False)
    _end(x)
    client_next(client, close)


cdef void client_gone(Conn* client) noexcept nogil:
    if client.exchange != NULL:
        exchange_abort(<Exchange*>client.exchange, BY_CLIENT, R_CLIENT_CLOSED)
    else:
        client_close(client)


cdef bint pass_interim(Exchange* x) noexcept nogil:
    """1xx: passed to clients that can take it, 100 only when asked for. False when the client is gone."""
    cdef Out out
    if x.request.minor == 0 or (x.answer.status == 100 and not x.request.flags & MSG_EXPECT) or x.client.out != NULL:
        return True
    out_init(&out, x.lane.reactor.tx, TX_SIZE)
    interim_head(x, &out)
    if not out.full and conn_send(x.client, out.start, out.p - out.start) == SEND_ERROR:
        client_gone(x.client)
        return False
    return True


cdef void exchange_tunnel_ended(Exchange* x) noexcept nogil:
    cdef Conn* client = x.client
    drop_origin(x, False)
    _end(x)
    client_close(client)


cdef void _settle_body(Exchange* x) noexcept nogil:
    """Takes the rest of the request's body from what was read; if more is to come, the connection closes after the answer."""
    cdef Buf* buf = x.client.inbuf
    cdef uint32_t used = 0
    cdef int code
    if x.flags & X_DONE_UP:
        return
    while not x.up.fault:
        code = swallow_up(x, buf.data + buf.start, next_piece(buf), &used)
        buf.start += used
        x.bytes_in = x.up.seen
        if code == RELAY_DONE:
            x.flags |= X_DONE_UP
            return
        if code == RELAY_BAD or buf.start == buf.end:
            break
    buf.start = buf.end
    x.flags |= X_CLOSE
    x.client.lingers = 1


cdef bint _send_own(Exchange* x, Out* out) noexcept nogil:
    x.flags |= X_ANSWERED
    x.answered_us = x.lane.reactor.now_us
    if out.full or conn_send(x.client, out.start, out.p - out.start) == SEND_ERROR:
        client_gone(x.client)
        return False
    return True


cdef StepCall* response_step(Exchange* x, uint32_t i) noexcept nogil:
    if x.identity.consumer != NULL:
        if i < x.identity.consumer.steps.n_response:
            return &x.identity.consumer.steps.on_response[i]
        i -= x.identity.consumer.steps.n_response
    return &x.plan.steps.on_response[i] if i < x.plan.steps.n_response else NULL


cdef bint _prepare_own(Exchange* x, Out* out) noexcept nogil:
    """False when a response step failed: the exchange has then ended with that step's reason in place of this answer."""
    cdef StepCall* call
    _settle_body(x)
    if x.lane.draining:
        x.flags |= X_CLOSE
    x.by = BY_GATEWAY
    x.answer_head.n_fields = 0
    x.answer.status = x.status
    # Response steps see answers of our own too (CORS, security headers); they cannot wait here. Those that saw the answer this one replaces are done.
    if not x.flags & X_RESPONDING:
        x.flags |= X_RESPONDING
        x.step = 0
    while True:
        call = response_step(x, x.step)
        if call == NULL:
            break
        x.step += 1
        if call.run(call.self, x) == STEP_ANSWER:
            refuse(x, x.own.reason)
            return False
    out_init(out, x.lane.reactor.tx, TX_SIZE)
    return True


cdef void refuse(Exchange* x, uint8_t reason) noexcept nogil:
    cdef Out out
    if x.flags & X_ANSWERED:
        exchange_abort(x, BY_GATEWAY, reason)
        return
    drop_origin(x, True)
    x.reason = reason
    x.status = reason_text(reason).status
    if not _prepare_own(x, &out):
        return
    problem_answer(x, reason, &out)
    if _send_own(x, &out):
        exchange_finish(x)


cdef void parked_too_long(Exchange* x) noexcept nogil:
    if x.park.leave != NULL:
        x.park.leave(x, False)
    else:
        refuse(x, R_HOOK_TIMEOUT)


cdef void answer_own(Exchange* x) noexcept nogil:
    """x.own: set by a hook, or by us for OPTIONS *."""
    cdef Out out
    if x.own.reason:
        refuse(x, x.own.reason)
        return
    x.status = x.own.status
    if not _prepare_own(x, &out):
        return
    plain_answer(x, &out)
    if _send_own(x, &out):
        exchange_finish(x)


cdef void answer_plan(Exchange* x) noexcept nogil:
    cdef Out out
    cdef Plan* plan = x.plan
    x.status = plan.status
    if not _prepare_own(x, &out):
        return
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
        exchange_finish(x)
