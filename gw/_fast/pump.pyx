"""The request's body from one event to the next: what is read of the client goes to the origin as it takes it."""

from libc.stdint cimport int64_t, uint32_t

from gw._fast.answer cimport R_BODY_TOO_LARGE, R_MALFORMED_BODY, R_OVERLOADED
from gw._fast.bodies cimport send_up
from gw._fast.decide cimport fault_reason
from gw._fast.h1 cimport BODY_NONE, FAULT_CHUNK
from gw._fast.life cimport client_gone, refuse
from gw._fast.plane cimport X_ANSWERED, X_CLOSE, X_DONE_UP, X_PARKED, X_UP_BROKEN, X_UP_DROPPED, X_UP_LEFT
from gw._fast.relay cimport RELAY_BAD, RELAY_BROKEN, RELAY_DONE, RELAY_MORE, RELAY_SHORT, RELAY_STALL, RELAY_TOO_LARGE, keep_behind, next_piece, read_up, relay_up
from gw._fast.slab cimport Buf
from gw._fast.stream cimport PEER_EOF, RECV_AGAIN, RECV_EOF, Conn, conn_again, conn_read_off, conn_read_on
from gw._fast.wheel cimport timer_off, timer_set


cdef void pump_up(Exchange* x) noexcept nogil:
    """One read of the client's body on its way, from the kept bytes first."""
    cdef Conn* client = x.client
    cdef Buf* buf = client.inbuf
    cdef char* data = client.reactor.rx
    cdef uint32_t used = 0
    cdef ssize_t n
    cdef int code
    if buf.start < buf.end:
        code = relay_up(x, 0, buf.data + buf.start, next_piece(buf), &used)
        buf.start += used
        up_moved(x, code)
        return
    if client.flags & PEER_EOF:
        body_cut(x, True)
        return
    x.flags |= X_UP_DROPPED
    n = read_up(x)
    if n == RECV_AGAIN:
        return
    if n <= 0:
        body_cut(x, n == RECV_EOF)
        return
    code = relay_up(x, 0, data, <uint32_t>n, &used)
    if used < n and code != RELAY_BAD:
        keep_behind(x, data + used, <uint32_t>(n - used))
    up_moved(x, code)


cdef void body_goes_on(Exchange* x) noexcept nogil:
    """The next piece may come, or be here already."""
    cdef Conn* client = x.client
    timer_set(&client.reactor.wheel, &client.timer, client.reactor.now_ms + x.allowance.idle_ms)
    conn_read_on(client)
    if client.inbuf.start < client.inbuf.end or client.flags & PEER_EOF:
        conn_again(client)


cdef void body_refused(Exchange* x, int code) noexcept nogil:
    """What is left of it may still come: the connection ends behind the answer."""
    x.client.lingers = 1
    x.flags |= X_CLOSE
    refuse(x, R_BODY_TOO_LARGE if code == RELAY_TOO_LARGE else R_OVERLOADED if code == RELAY_SHORT else fault_reason(x.up.fault))


cdef void body_cut(Exchange* x, bint clean) noexcept nogil:
    """The client ended its side inside the body: it may still read why that cannot be served."""
    if clean and not x.flags & (X_ANSWERED | X_PARKED):
        x.client.flags |= PEER_EOF
        x.up.fault = FAULT_CHUNK
        refuse(x, R_MALFORMED_BODY)
    else:
        client_gone(x.client)


cdef void up_moved(Exchange* x, int code) noexcept nogil:
    cdef Conn* client = x.client
    cdef Conn* origin = x.origin
    cdef int64_t now = x.lane.reactor.now_ms
    x.bytes_in = x.up.seen
    if code == RELAY_DONE:
        if x.up.framing != BODY_NONE:
            timer_off(&client.timer)
        x.flags |= X_DONE_UP
        timer_set(&client.reactor.wheel, &origin.timer, now + x.allowance.answer_ms)
        if client.inbuf.end - client.inbuf.start == client.inbuf.cap:
            conn_read_off(client)
        else:
            conn_read_on(client)
    elif code == RELAY_MORE:
        timer_off(&origin.timer)
        body_goes_on(x)
    elif code == RELAY_STALL:
        timer_off(&client.timer)
        conn_read_off(client)
        timer_set(&client.reactor.wheel, &origin.timer, now + x.allowance.idle_ms)
    elif code == RELAY_BROKEN:
        x.flags |= X_UP_BROKEN
        conn_read_off(client)
        timer_set(&client.reactor.wheel, &origin.timer, now + x.allowance.answer_ms)
    else:
        body_refused(x, code)


cdef bint origin_drained(Exchange* x) noexcept nogil:
    """The request's queue is empty. False when the exchange ended in here."""
    cdef Conn* origin = x.origin
    if x.flags & X_UP_LEFT:
        up_moved(x, send_up(x, 0))
        return origin.exchange == x
    if x.flags & X_DONE_UP:
        timer_set(&x.lane.reactor.wheel, &x.origin.timer, x.lane.reactor.now_ms + x.allowance.answer_ms)
        return True
    timer_off(&x.origin.timer)
    if x.client.inbuf.start < x.client.inbuf.end:
        pump_up(x)
        return origin.exchange == x         # a closed connection is still memory until the batch ends; an ended exchange is not
    conn_read_on(x.client)
    timer_set(&x.lane.reactor.wheel, &x.client.timer, x.lane.reactor.now_ms + x.allowance.idle_ms)
    return True
