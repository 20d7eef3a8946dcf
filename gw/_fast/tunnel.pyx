from gw._fast.plane cimport C_TUNNEL, O_TUNNEL, X_TUNNEL
from gw._fast.slab cimport Buf
from gw._fast.stream cimport (
    EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, PEER_EOF, READ_ON, RECV_AGAIN, RECV_EOF, RX_SIZE, SEND_DONE, SEND_ERROR, SEND_QUEUED, Conn, conn_flush, conn_read_off, conn_read_on,
    conn_recv, conn_send, conn_send2, conn_shut, conn_unwatch, conn_watch,
)
from gw._fast.wheel cimport timer_off, timer_set


cdef inline Conn* _peer(Exchange* x, Conn* conn) noexcept nogil:
    return x.origin if conn == x.client else x.client


cdef void _touch(Exchange* x) noexcept nogil:
    """Silence is measured over both directions, on the client's timer."""
    timer_set(&x.lane.reactor.wheel, &x.client.timer, x.lane.reactor.now_ms + x.plan.tunnel_ms)


cdef void _ended(Exchange* x) noexcept nogil:
    x.lane.stats.tunnels -= 1
    x.lane.tunnel_ended(x)


cdef void _on_timeout(Conn* conn, uint32_t events) noexcept nogil:
    _ended(<Exchange*>conn.exchange)


cdef void tunnel_begin(Exchange* x, uint32_t head_n, char* early, uint32_t n) noexcept nogil:
    cdef Conn* client = x.client
    cdef Conn* origin = x.origin
    cdef Buf* buf = client.inbuf
    cdef int down, up = SEND_DONE
    x.flags |= X_TUNNEL
    x.lane.stats.tunnels += 1
    client.state = C_TUNNEL
    origin.state = O_TUNNEL
    client.on_event = _on_event
    client.on_timeout = _on_timeout
    origin.on_event = _on_event
    timer_off(&origin.timer)
    _touch(x)
    down = conn_send2(client, x.lane.reactor.tx, head_n, early, n)
    x.bytes_out += n
    if buf != NULL:
        if buf.start < buf.end:
            x.bytes_in += buf.end - buf.start
            up = conn_send(origin, buf.data + buf.start, buf.end - buf.start)
        # The head lies in front of the buffer and the log wants it: it stays until the end.
        buf.start = buf.end
    if down == SEND_ERROR or up == SEND_ERROR:
        _ended(x)
        return
    if down == SEND_QUEUED:
        conn_read_off(origin)
    else:
        conn_read_on(origin)
    if up == SEND_QUEUED:
        conn_read_off(client)
    else:
        conn_read_on(client)
    if client.flags & PEER_EOF and up == SEND_DONE:
        conn_shut(origin)


cdef void _on_event(Conn* conn, uint32_t events) noexcept nogil:
    cdef Exchange* x = <Exchange*>conn.exchange
    if events & EPOLLOUT and conn.out != NULL and not _flushed(x, conn):
        return
    if events & EPOLLIN and conn.flags & READ_ON:
        _move(x, conn)
    elif events & EPOLLERR:
        _ended(x)
    elif events & EPOLLHUP:
        if conn.flags & PEER_EOF or conn.flags & READ_ON:
            _ended(x)
        else:
            conn_unwatch(conn)          # paused: what it still holds is read when the other side takes it


cdef bint _flushed(Exchange* x, Conn* conn) noexcept nogil:
    cdef Conn* peer = _peer(x, conn)
    cdef int code = conn_flush(conn)
    if code == SEND_ERROR:
        _ended(x)
        return False
    if code == SEND_DONE:
        if peer.flags & PEER_EOF:
            conn_shut(conn)
            return not _both_done(x)
        conn_read_on(peer)
    return True


cdef bint _both_done(Exchange* x) noexcept nogil:
    if x.client.flags & PEER_EOF and x.origin.flags & PEER_EOF and x.client.out == NULL and x.origin.out == NULL:
        _ended(x)
        return True
    return False


cdef void _move(Exchange* x, Conn* conn) noexcept nogil:
    cdef Conn* peer = _peer(x, conn)
    cdef char* rx = x.lane.reactor.rx
    cdef ssize_t n = conn_recv(conn, rx, RX_SIZE)
    cdef int code
    if n == RECV_AGAIN:
        return
    if n == RECV_EOF:
        conn.flags |= PEER_EOF
        conn_watch(conn)
        if peer.out == NULL:
            conn_shut(peer)
        _both_done(x)
        return
    if n < 0:
        _ended(x)
        return
    if conn == x.client:
        x.bytes_in += n
    else:
        x.bytes_out += n
    code = conn_send(peer, rx, n)
    if code == SEND_ERROR:
        _ended(x)
        return
    _touch(x)
    if code == SEND_QUEUED:
        conn_read_off(conn)
