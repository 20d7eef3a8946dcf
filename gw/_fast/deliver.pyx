"""An answer on its way to the client: response steps, its body whole if steps watch that, its head, and what follows as it comes."""

from libc.stdint cimport uint32_t

from gw._fast.answer cimport R_ANSWER_TOO_LARGE, R_ORIGIN_BODY_MALFORMED, R_ORIGIN_CUT, R_ORIGIN_HEAD_TOO_LARGE, R_OVERLOADED
from gw._fast.bodies cimport frame_down, gather_down, gathers_down, response_body_step, send_down
from gw._fast.forward cimport choose_framing, response_head
from gw._fast.h1 cimport BODY_EOF
from gw._fast.life cimport client_gone, exchange_abort, exchange_finish, refuse, response_step
from gw._fast.out cimport Out, out_init
from gw._fast.plane cimport BY_ORIGIN, STEP_ANSWER, STEP_PARK, X_ANSWERED, X_PARKED_DOWN, StepCall
from gw._fast.relay cimport RELAY_BROKEN, RELAY_CUT, RELAY_DONE, RELAY_MORE, RELAY_SHORT, RELAY_STALL, RELAY_TOO_LARGE, relay_down, relay_down_end
from gw._fast.slab cimport Buf
from gw._fast.stream cimport RECV_AGAIN, RECV_EOF, RX_SIZE, TX_SIZE, Conn, conn_read_off, conn_read_on, conn_recv
from gw._fast.tunnel cimport tunnel_begin
from gw._fast.wheel cimport timer_off, timer_set


cdef void _park_answer(Exchange* x) noexcept nogil:
    x.flags |= X_PARKED_DOWN
    conn_read_off(x.origin)
    timer_off(&x.client.timer)
    timer_set(&x.lane.reactor.wheel, &x.origin.timer, x.lane.reactor.now_ms + x.snapshot.hook_ms)


cdef void answer_steps(Exchange* x) noexcept nogil:
    cdef int verdict
    cdef Buf* buf = x.answer_buf
    cdef StepCall* call
    while True:
        call = response_step(x, x.step)
        if call == NULL:
            break
        x.step += 1
        verdict = call.run(call.self, x)
        if verdict == STEP_ANSWER:
            refuse(x, x.own.reason)        # it failed: what it was to see to must not pass
            return
        if verdict == STEP_PARK:
            _park_answer(x)
            return
    if x.bodies != NULL and x.bodies.down.whole:
        _answer_body_steps(x)
        return
    conn_read_on(x.origin)
    if x.bodies != NULL and gathers_down(x):
        _answer_gathered(x, gather_down(x, buf.data + x.answer.head_len, buf.end - x.answer.head_len))
    else:
        answer_head(x, buf.data + x.answer.head_len, buf.end - x.answer.head_len)


cdef void gather_answer(Exchange* x) noexcept nogil:
    cdef char* data = x.lane.reactor.rx
    cdef ssize_t n = conn_recv(x.origin, data, RX_SIZE)
    if n > 0 or n == RECV_EOF:
        _answer_gathered(x, gather_down(x, data, <uint32_t>n))
    elif n != RECV_AGAIN:
        _answer_gathered(x, RELAY_CUT)


cdef void _answer_gathered(Exchange* x, int code) noexcept nogil:
    if code == RELAY_MORE:
        timer_set(&x.lane.reactor.wheel, &x.origin.timer, x.lane.reactor.now_ms + x.allowance.idle_ms)
    elif code == RELAY_DONE:
        conn_read_off(x.origin)
        timer_off(&x.origin.timer)
        _answer_body_steps(x)
    elif code == RELAY_TOO_LARGE:
        refuse(x, R_ANSWER_TOO_LARGE)
    elif code == RELAY_SHORT:
        refuse(x, R_OVERLOADED)
    else:
        refuse(x, R_ORIGIN_CUT if code == RELAY_CUT else R_ORIGIN_BODY_MALFORMED)


cdef void _answer_body_steps(Exchange* x) noexcept nogil:
    cdef StepCall* call = response_body_step(x)
    cdef int verdict
    cdef Out out
    while call != NULL:
        verdict = call.run(call.self, x)
        if verdict == STEP_ANSWER:
            refuse(x, x.own.reason)
            return
        if verdict == STEP_PARK:
            _park_answer(x)
            return
        call = response_body_step(x)
    if not frame_down(x):
        refuse(x, R_OVERLOADED)
    elif _put_head(x, &out):
        send_answer(x, <uint32_t>(out.p - out.start))


cdef void send_answer(Exchange* x, uint32_t head_n) noexcept nogil:
    cdef int code = send_down(x, head_n)
    if code == RELAY_DONE:
        exchange_finish(x)
    elif code == RELAY_STALL:
        timer_off(&x.origin.timer)
        timer_set(&x.client.reactor.wheel, &x.client.timer, x.client.reactor.now_ms + x.allowance.idle_ms)
    else:
        client_gone(x.client)


cdef inline bint _put_head(Exchange* x, Out* out) noexcept nogil:
    """At reactor.tx; False when the exchange ended in here."""
    if x.answer.status != 101:
        choose_framing(x)
    out_init(out, x.lane.reactor.tx, TX_SIZE - RX_SIZE - 16384)
    response_head(x, out)
    if out.full:
        refuse(x, R_ORIGIN_HEAD_TOO_LARGE)
        return False
    x.flags |= X_ANSWERED
    return True


cdef void answer_head(Exchange* x, char* rest, uint32_t n) noexcept nogil:
    cdef Out out
    if not _put_head(x, &out):
        return
    if x.answer.status == 101:
        timer_off(&x.client.timer)
        tunnel_begin(x, <uint32_t>(out.p - out.start), rest, n)
        return
    down_piece(x, <uint32_t>(out.p - out.start), rest, n)


cdef void down_piece(Exchange* x, uint32_t head_n, char* data, uint32_t n) noexcept nogil:
    cdef Conn* client = x.client
    cdef uint32_t used = 0
    cdef int code = relay_down(x, head_n, data, n, &used)
    if code == RELAY_DONE:
        x.junk = used < n
        exchange_finish(x)
    elif code == RELAY_MORE:
        timer_set(&client.reactor.wheel, &x.origin.timer, client.reactor.now_ms + x.allowance.idle_ms)
    elif code == RELAY_STALL:
        conn_read_off(x.origin)
        timer_off(&x.origin.timer)
        timer_set(&client.reactor.wheel, &client.timer, client.reactor.now_ms + x.allowance.idle_ms)
    elif code == RELAY_BROKEN:
        client_gone(client)
    else:
        exchange_abort(x, BY_ORIGIN, R_ORIGIN_BODY_MALFORMED)


cdef void origin_ended(Exchange* x, bint clean) noexcept nogil:
    """The origin closed inside the body: the end of it, or a cut that the client must be able to see."""
    if x.down.framing == BODY_EOF and clean:
        if relay_down_end(x, 0) == RELAY_BROKEN:
            client_gone(x.client)
        else:
            exchange_finish(x)
    else:
        exchange_abort(x, BY_ORIGIN, R_ORIGIN_CUT)
