from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memmove

from gw._fast.h1 cimport BODY_CHUNKED, BODY_LENGTH, BODY_NONE, FAULT_CHUNK, H1_BAD, H1_DONE, TRAILER_MAX, Body, body_start, chunked_feed
from gw._fast.headers cimport head_parse_trailers
from gw._fast.out cimport put_chunk_size
from gw._fast.plane cimport X_CHUNK_OUT, X_DONE_UP, X_SENT, X_UP_BROKEN, X_UP_LEFT
from gw._fast.slab cimport buf_take
from gw._fast.stream cimport SEND_ERROR, SEND_QUEUED, Conn, conn_recv, conn_send, conn_send2

cdef enum: SIZE_LINE = 10           # bytes that put_chunk_size writes


cdef inline int _sent(int code) noexcept nogil:
    return RELAY_BROKEN if code == SEND_ERROR else RELAY_STALL if code == SEND_QUEUED else RELAY_MORE


cdef char* trailer_room(Exchange* x, Body* body) noexcept nogil:
    """Room for the trailer section of this direction."""
    if x.trailers == NULL:
        x.trailers = buf_take(&x.lane.reactor.slab)
        if x.trailers == NULL:
            return NULL
    return x.trailers.data if body == &x.up else x.trailers.data + TRAILER_MAX


cdef uint32_t _put_last(char* at, const char* trailers, uint32_t n) noexcept nogil:
    """The last chunk with the trailer fields that may pass; 0 when they are malformed."""
    cdef int kept
    memcpy(at, b"0\r\n", 3)
    kept = head_parse_trailers(trailers, n, at + 3) if n else 0
    if kept < 0:
        return 0
    memcpy(at + 3 + kept, b"\r\n", 2)
    return 5 + kept


cdef int _chunked(Exchange* x, Conn* to, Body* body, bint chunk_out, uint64_t most, uint32_t head_n, const char* data, uint32_t n, uint32_t* used) noexcept nogil:
    """Decoded into one piece behind the head, framed again as one chunk: extensions and odd splits of the sender end here."""
    cdef char* tx = x.lane.reactor.tx
    cdef char* trailers = trailer_room(x, body)
    cdef uint32_t written = 0
    cdef uint32_t at = head_n
    cdef uint32_t last
    cdef int code, sent
    if trailers == NULL:
        return RELAY_BROKEN
    code = chunked_feed(body, data, n, used, tx + head_n + SIZE_LINE, &written, trailers)
    if code == H1_BAD:
        return RELAY_BAD
    if most and body.seen + body.left > most:
        return RELAY_TOO_LARGE              # nothing of this piece has left; the announced rest of a chunk counts
    if written:
        if chunk_out:
            put_chunk_size(tx + at, written)
            at += SIZE_LINE + written
            memcpy(tx + at, b"\r\n", 2)
            at += 2
        else:
            memmove(tx + at, tx + at + SIZE_LINE, written)
            at += written
    if code == H1_DONE and chunk_out:
        last = _put_last(tx + at, trailers, body.line)
        if last == 0:
            body.fault = FAULT_CHUNK
            return RELAY_BAD
        at += last
    sent = _sent(conn_send(to, tx, at)) if at else RELAY_MORE
    if code == H1_DONE and sent != RELAY_BROKEN:
        return RELAY_DONE
    return sent


cdef int relay_up(Exchange* x, uint32_t head_n, const char* data, uint32_t n, uint32_t* used) noexcept nogil:
    cdef Body* body = &x.up
    cdef uint32_t take
    cdef int code
    used[0] = 0
    if body.framing == BODY_LENGTH:
        take = n if body.left > n else <uint32_t>body.left
        used[0] = take
        body.left -= take
        body.seen += take
        code = _sent(conn_send2(x.origin, x.lane.reactor.tx, head_n, data, take) if head_n else conn_send(x.origin, data, take))
        return RELAY_DONE if body.left == 0 and code != RELAY_BROKEN else code
    return _chunked(x, x.origin, body, True, x.allowance.max_body, head_n, data, n, used)


cdef int relay_down(Exchange* x, uint32_t head_n, const char* data, uint32_t n, uint32_t* used) noexcept nogil:
    cdef Body* body = &x.down
    cdef char* tx = x.lane.reactor.tx
    cdef uint32_t take
    cdef uint32_t at = head_n
    cdef int code
    used[0] = 0
    if body.framing == BODY_CHUNKED:
        code = _chunked(x, x.client, body, x.flags & X_CHUNK_OUT != 0, 0, head_n, data, n, used)
        x.bytes_out = body.seen
        return code
    if body.framing == BODY_NONE:
        return RELAY_DONE if conn_send(x.client, tx, head_n) != SEND_ERROR else RELAY_BROKEN
    take = n
    if body.framing == BODY_LENGTH and body.left < take:
        take = <uint32_t>body.left
    used[0] = take
    body.seen += take
    x.bytes_out = body.seen
    if body.framing == BODY_LENGTH:
        body.left -= take
    if x.flags & X_CHUNK_OUT and take:
        put_chunk_size(tx + at, take)
        memcpy(tx + at + SIZE_LINE, data, take)
        at += SIZE_LINE + take
        memcpy(tx + at, b"\r\n", 2)
        code = _sent(conn_send(x.client, tx, at + 2))
    elif head_n:
        code = _sent(conn_send2(x.client, tx, head_n, data, take))
    else:
        code = _sent(conn_send(x.client, data, take))
    if body.framing == BODY_LENGTH and body.left == 0 and code != RELAY_BROKEN:
        return RELAY_DONE
    return code


cdef int relay_down_end(Exchange* x, uint32_t head_n) noexcept nogil:
    cdef char* tx = x.lane.reactor.tx
    if x.flags & X_CHUNK_OUT:
        memcpy(tx + head_n, b"0\r\n\r\n", 5)
        head_n += 5
    if head_n and conn_send(x.client, tx, head_n) == SEND_ERROR:
        return RELAY_BROKEN
    return RELAY_DONE


cdef ssize_t read_up(Exchange* x) noexcept nogil:
    cdef Buf* buf = x.client.inbuf
    cdef size_t want
    buf.start = x.request.head_len
    buf.end = buf.start
    want = buf.cap - buf.end
    if x.up.framing == BODY_LENGTH:
        want += min(x.up.left, <uint64_t>RX_SIZE)
    return conn_recv(x.client, x.client.reactor.rx, min(want, <size_t>RX_SIZE))


cdef void keep_behind(Exchange* x, const char* data, uint32_t n) noexcept nogil:
    cdef Buf* buf = x.client.inbuf
    memcpy(buf.data + buf.end, data, n)
    buf.end += n


cdef int swallow_up(Exchange* x, const char* data, uint32_t n, uint32_t* used) noexcept nogil:
    cdef Body* body = &x.up
    cdef char* trailers
    cdef uint32_t written = 0
    cdef uint32_t take
    used[0] = 0
    if body.framing == BODY_LENGTH:
        take = n if body.left > n else <uint32_t>body.left
        used[0] = take
        body.left -= take
        body.seen += take
        return RELAY_DONE if body.left == 0 else RELAY_MORE
    trailers = trailer_room(x, body)
    if trailers == NULL:
        return RELAY_BAD
    return RELAY_DONE if chunked_feed(body, data, n, used, x.lane.reactor.tx, &written, trailers) == H1_DONE else RELAY_MORE if not body.fault else RELAY_BAD


cdef void rewind_up(Exchange* x) noexcept nogil:
    """The body, all of it still in the buffer behind the head, is sent from its start again."""
    x.flags &= ~(X_SENT | X_UP_BROKEN | X_UP_LEFT)
    if x.request.framing != BODY_NONE:
        x.flags &= ~X_DONE_UP
        x.client.inbuf.start = x.request.head_len
        body_start(&x.up, x.request.framing, x.request.length)


cdef bint keep_answer(Exchange* x, const char* base, uint32_t n) noexcept nogil:
    if x.answer_buf == NULL:
        x.answer_buf = buf_take(&x.lane.reactor.slab)
    if x.answer_buf == NULL or n > x.answer_buf.cap:
        return False
    if x.answer_buf.data != base:
        memmove(x.answer_buf.data, base, n)
    x.answer_buf.end = n
    return True
