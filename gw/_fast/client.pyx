"""Client connections between and around exchanges: greeting, keep-alive, leaving without losing the last answer."""

from libc.stdint cimport uint32_t
from libc.string cimport strlen

from gw._fast.forward cimport address_trusted
from gw._fast.greet cimport GREET_BAD, GREET_DONE, proxy_greeting
from gw._fast.plane cimport C_FLUSH, C_HANDSHAKE, C_IDLE, C_LINGER, C_PROXY, LaneState, Listener
from gw._fast.slab cimport Buf, buf_give
from gw._fast.stream cimport (
    CONN_DEAD, PEER_EOF, RECV_EOF, RECV_AGAIN, RX_SIZE, SEND_DONE, TLS_READ_WRITES, conn_abort, conn_again, conn_close, conn_opened, conn_plain, conn_read_off, conn_read_on,
    conn_recv, conn_secure, conn_send, conn_shut, conn_watch,
)
from gw._fast.tls cimport TLS_ERROR, TLS_FAIL_HTTP, TLS_OK, TLS_WANT_WRITE, tls_accept, tls_failure, tls_handshake
from gw._fast.wheel cimport timer_set

cdef enum:
    LINGER_BYTES = 1048576          # drained of an unwanted body before the connection is cut
    RECLAIM_SCAN = 1024             # connections looked at to find idle ones
    RECLAIM_MOST = 32

cdef const char* PLAIN_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 52\r\nConnection: close\r\n\r\n"
    b"This port speaks TLS. Ask again with https, please.\n"
)


cdef void client_close(Conn* client) noexcept nogil:
    cdef LaneState* lane = <LaneState*>client.reactor.lane
    if client.kind == CONN_DEAD:
        return
    client.prev.next = client.next
    client.next.prev = client.prev
    lane.n_clients -= 1
    (<Listener*>client.owner).n_conns -= 1
    conn_close(client)


cdef void client_refuse(Conn* client) noexcept nogil:
    """There is no memory to hear it out."""
    (<LaneState*>client.reactor.lane).stats.refused += 1
    client_close(client)


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


cdef void client_leave(Conn* client) noexcept nogil:
    """Close; drain first what the peer may still send, or the kernel answers it with a reset that can overtake our answer."""
    if client.flags & PEER_EOF or client.inbuf == NULL or (client.inbuf.start == client.inbuf.end and not client.lingers):
        client_close(client)
        return
    buf_give(&client.reactor.slab, client.inbuf)
    client.inbuf = NULL
    _linger(client)


cdef void _linger(Conn* client) noexcept nogil:
    cdef LaneState* lane = <LaneState*>client.reactor.lane
    conn_shut(client)
    client.state = C_LINGER
    client.out_bytes = 0
    timer_set(&client.reactor.wheel, &client.timer, client.reactor.now_ms + lane.snapshot.linger_ms)
    conn_read_on(client)


cdef void client_next(Conn* client, bint close) noexcept nogil:
    cdef LaneState* lane = <LaneState*>client.reactor.lane
    cdef Buf* buf = client.inbuf
    client.served += 1
    if close:
        if client.out != NULL:
            client.state = C_FLUSH
            conn_read_off(client)
            timer_set(&client.reactor.wheel, &client.timer, client.reactor.now_ms + lane.snapshot.head_ms)
        else:
            client_leave(client)
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


cdef void client_drain_unwanted(Conn* client) noexcept nogil:
    cdef ssize_t n = conn_recv(client, client.reactor.rx, RX_SIZE)
    if n == RECV_AGAIN:
        return
    if n > 0:
        client.out_bytes += n       # the queue is empty by now: its counter counts what was drained
    if n <= 0 or client.out_bytes > LINGER_BYTES:
        client_close(client)


cdef bint client_greet(Conn* client) noexcept nogil:
    """PROXY protocol header and TLS handshake, before the first request. True when that may be read."""
    cdef int code
    if client.state == C_PROXY:
        code = proxy_greeting(client)
        if code == GREET_BAD:
            client_close(client)
            return False
        if code != GREET_DONE:
            return False
        client.trusted = address_trusted((<LaneState*>client.reactor.lane).snapshot, client.addr, client.addr_len)
        client.state = C_HANDSHAKE if (<Listener*>client.owner).tls != NULL else C_IDLE
        if client.state == C_HANDSHAKE:
            if not conn_secure(client, tls_accept((<Listener*>client.owner).tls, client.fd)):
                client_close(client)
                return False
    return client.state != C_HANDSHAKE or _shake(client)


cdef bint _shake(Conn* client) noexcept nogil:
    cdef LaneState* lane = <LaneState*>client.reactor.lane
    cdef int code = tls_handshake(client.ssl)
    if code == TLS_OK:
        lane.stats.tls_handshakes += 1
        conn_opened(client)
        client.state = C_IDLE
        timer_set(&client.reactor.wheel, &client.timer, client.reactor.now_ms + lane.snapshot.head_ms)
        return True
    if code == TLS_ERROR:
        lane.stats.tls_failures += 1
        if tls_failure(client.ssl) == TLS_FAIL_HTTP:
            _tell_plain(client)
        else:
            client_close(client)
        return False
    if code == TLS_WANT_WRITE:
        client.flags |= TLS_READ_WRITES
        conn_watch(client)
    return False


cdef void _tell_plain(Conn* client) noexcept nogil:
    """A client without TLS is told so in its own language. What it still sends is drained, or a reset would overtake our words."""
    conn_plain(client)
    if conn_send(client, PLAIN_ANSWER, strlen(PLAIN_ANSWER)) != SEND_DONE:
        client_close(client)
        return
    _linger(client)


cdef bint client_read_ahead(Conn* client) noexcept nogil:
    """Bytes behind the current request, or of a body the origin is not ready for: kept up to one buffer. False when the client is gone."""
    cdef Buf* buf = client.inbuf
    cdef ssize_t n
    if buf.end == buf.cap:
        conn_read_off(client)
        return True
    n = conn_recv(client, buf.data + buf.end, buf.cap - buf.end)
    if n > 0:
        buf.end += <uint32_t>n
    elif n == RECV_EOF:
        client.flags |= PEER_EOF
        conn_watch(client)                  # a half-close: it still wants its answer
    return n >= 0 or n == RECV_AGAIN
