"""Bodies kept whole for the steps that watch them: gathered, framed anew, sent. Which steps those are stands in the exchange's holds, in the order they ran."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy

from gw._fast.answer cimport R_OVERLOADED
from gw._fast.forward cimport edit_push, text_room
from gw._fast.h1 cimport BODY_CHUNKED, BODY_EOF, BODY_LENGTH, BODY_NONE, FAULT_CHUNK, H1_BAD, H1_DONE, MSG_EXPECT, MSG_WATCHED, Body, body_start, chunked_feed
from gw._fast.headers cimport head_parse_trailers
from gw._fast.plane cimport (
    EDIT_REMOVE, EDIT_SET, STEP_ANSWER, X_DONE_UP, X_GATHER, X_GATHER_DOWN, X_HEAD_REQUEST, X_KEPT, X_KEPT_DOWN, X_UPGRADE, X_UP_LEFT, X_WATCHED, Bodies, Edits, Hold,
    Kept, Was,
)
from gw._fast.relay cimport (
    RELAY_BAD, RELAY_BROKEN, RELAY_CUT, RELAY_DONE, RELAY_MORE, RELAY_SHORT, RELAY_STALL, RELAY_TOO_LARGE,
    keep_behind, next_piece, read_up, relay_down, trailer_room,
)
from gw._fast.octets cimport decimal_before
from gw._fast.slab cimport Buf, Slab, slab_has_room
from gw._fast.step cimport step_holds
from gw._fast.stream cimport PEER_EOF, RECV_AGAIN, RECV_EOF, RX_SIZE, SEND_ERROR, SEND_QUEUED, Conn, conn_send, conn_send2

cdef enum:
    ROOM_FIRST = 4096           # bytes; it doubles, so that a declared length alone takes no memory
    DIGITS = 20                 # of a number of 64 bits

cdef const char* CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


# Who watches

cdef void _give_back(Exchange* x, const Hold* hold) noexcept nogil:
    bodies_end(x)


cdef const Watch* _watch_at(const Exchange* x, uint32_t i) noexcept nogil:
    """The watch that stands in this hold, NULL when it is another's."""
    cdef const Hold* hold = &x.holds.items[i]
    return <const Watch*>hold.owner if hold.give_back == _give_back and hold.what else NULL


cdef bint body_watch(Exchange* x, const Watch* watch) noexcept nogil:
    if not step_holds(x, _give_back, <void*>watch, 1):
        return False
    if x.bodies == NULL:
        if not slab_has_room(&x.lane.reactor.slab, sizeof(Bodies)):
            return False
        x.bodies = <Bodies*>calloc(1, sizeof(Bodies))
        if x.bodies == NULL:
            return False
        x.lane.reactor.slab.held[0] += sizeof(Bodies)
    if watch.request_body.run != NULL:
        x.request.flags |= MSG_WATCHED
    if watch.origin_request.run != NULL:
        x.flags |= X_WATCHED
    return True


cdef void bodies_forget(Exchange* x, uint32_t first) noexcept nogil:
    cdef uint32_t i
    for i in range(first, x.holds.n):
        if x.holds.items[i].give_back == _give_back:
            x.holds.items[i].what = 0


cdef void bodies_end(Exchange* x) noexcept nogil:
    cdef Bodies* bodies = x.bodies
    cdef Slab* slab = &x.lane.reactor.slab
    if bodies == NULL:
        return
    x.bodies = NULL
    _drop(slab, &bodies.up)
    _drop(slab, &bodies.down)
    free(bodies.was)
    slab.held[0] -= bodies.was_bytes + sizeof(Bodies)
    free(bodies)


cdef void _drop(Slab* slab, Kept* kept) noexcept nogil:
    slab.held[0] -= kept.cap
    if kept.text == NULL:
        free(kept.data)
    else:
        with gil:
            Py_DECREF(<object>kept.text)
    kept.data = NULL
    kept.text = NULL
    kept.cap = 0


cdef inline uint64_t _least(uint64_t a, uint64_t b) noexcept nogil:
    return b if a == 0 or b < a else a


cdef uint64_t _limit(const Exchange* x, bint answer) noexcept nogil:
    """The least of the steps that want this body; 0: none does."""
    cdef uint64_t least = 0
    cdef const Watch* watch
    cdef uint32_t i
    for i in range(x.holds.n):
        watch = _watch_at(x, i)
        if watch != NULL and (watch.response_body.run if answer else watch.request_body.run) != NULL:
            least = _least(least, watch.limit)
    return least


# Gathering

cdef bint _room(Slab* slab, Kept* kept, size_t n, uint64_t most) noexcept nogil:
    """For n bytes more, of a body that will not hold more than `most`."""
    cdef size_t cap = kept.cap * 2 if kept.cap else ROOM_FIRST
    cdef char* grown
    if kept.n + n <= kept.cap:
        return True
    cap = max(min(cap, most), kept.n + n)
    if not slab_has_room(slab, cap - kept.cap):
        return False
    grown = <char*>realloc(kept.data, cap)
    if grown == NULL:
        return False
    slab.held[0] += cap - kept.cap
    kept.data = grown
    kept.cap = cap
    return True


cdef int _keep(Exchange* x, Kept* kept, Body* body, const char* data, uint32_t n, uint32_t* used) noexcept nogil:
    """A piece, framed as `body` says; what lies behind the body is not used."""
    cdef Slab* slab = &x.lane.reactor.slab
    cdef uint32_t take = n
    used[0] = 0
    if body.framing == BODY_CHUNKED:
        return _keep_chunked(x, kept, body, data, n, used)
    if body.framing == BODY_LENGTH and body.left < take:
        take = <uint32_t>body.left
    if kept.n + take > kept.limit:
        return RELAY_TOO_LARGE
    if not _room(slab, kept, take, kept.n + body.left if body.framing == BODY_LENGTH else kept.limit):
        return RELAY_SHORT
    if take:
        memcpy(kept.data + kept.n, data, take)
    kept.n += take
    body.seen += take
    used[0] = take
    if body.framing == BODY_LENGTH:
        body.left -= take
        return RELAY_MORE if body.left else RELAY_DONE
    return RELAY_MORE


cdef int _keep_chunked(Exchange* x, Kept* kept, Body* body, const char* data, uint32_t n, uint32_t* used) noexcept nogil:
    cdef char* trailers = trailer_room(x, body)
    cdef uint32_t written = 0
    cdef int code
    if trailers == NULL or not _room(&x.lane.reactor.slab, kept, n, kept.limit):
        return RELAY_SHORT
    code = chunked_feed(body, data, n, used, kept.data + kept.n, &written, trailers)
    if code == H1_BAD:
        return RELAY_BAD
    kept.n += written
    if body.seen + body.left > kept.limit:
        return RELAY_TOO_LARGE              # the announced rest of a chunk counts
    if code != H1_DONE:
        return RELAY_MORE
    if body.line and head_parse_trailers(trailers, body.line, x.lane.reactor.tx) < 0:
        body.fault = FAULT_CHUNK
        return RELAY_BAD
    return RELAY_DONE


cdef bint gathers_up(Exchange* x) noexcept nogil:
    cdef Kept* kept = &x.bodies.up
    kept.limit = _limit(x, False)
    if kept.limit == 0:
        return False
    if x.allowance.max_body:
        kept.limit = _least(kept.limit, x.allowance.max_body)
    return True


cdef int gather_up(Exchange* x) noexcept nogil:
    cdef int code
    if not x.flags & X_GATHER:
        x.flags |= X_GATHER
        if x.request.framing == BODY_LENGTH and x.request.length > x.bodies.up.limit:
            return RELAY_TOO_LARGE
        if not _invite(x):
            return RELAY_BROKEN
    code = RELAY_DONE if x.flags & X_DONE_UP else _gather_more(x)
    x.bytes_in = x.up.seen
    if code == RELAY_DONE:
        x.flags |= X_DONE_UP
        x.flags &= ~X_GATHER
        x.bodies.up.whole = 1
    return code


cdef bint _invite(Exchange* x) noexcept nogil:
    """A client that waits to be asked for its body is asked by us, and the endpoint is not to ask again. False when the client is gone."""
    if not x.request.flags & MSG_EXPECT:
        return True
    x.request.flags &= ~MSG_EXPECT
    if not edit_push(&x.origin_edits, EDIT_REMOVE, b"Expect", 6, NULL, 0):
        return False
    if x.flags & X_DONE_UP or x.client.inbuf.start < x.client.inbuf.end:
        return True
    return conn_send(x.client, CONTINUE, 25) != SEND_ERROR


cdef int _gather_more(Exchange* x) noexcept nogil:
    cdef Conn* client = x.client
    cdef Buf* buf = client.inbuf
    cdef char* data = client.reactor.rx
    cdef uint32_t used = 0
    cdef ssize_t n
    cdef int code
    if buf.start < buf.end:
        code = _keep(x, &x.bodies.up, &x.up, buf.data + buf.start, next_piece(buf), &used)
        buf.start += used
        return code
    if client.flags & PEER_EOF:
        return RELAY_CUT
    n = read_up(x)
    if n == RECV_AGAIN:
        return RELAY_MORE
    if n <= 0:
        return RELAY_CUT if n == RECV_EOF else RELAY_BROKEN
    code = _keep(x, &x.bodies.up, &x.up, data, <uint32_t>n, &used)
    if code == RELAY_DONE and used < n:
        keep_behind(x, data + used, <uint32_t>(n - used))
    return code


cdef bint gathers_down(Exchange* x) noexcept nogil:
    """An answer to HEAD has no body, nor have 204 and 304; after a 101 there is a tunnel."""
    cdef Kept* kept = &x.bodies.down
    if x.flags & X_HEAD_REQUEST or x.answer.status in (101, 204, 304):
        return False
    kept.limit = _limit(x, True)
    kept.at = x.holds.n
    return kept.limit != 0


cdef int gather_down(Exchange* x, const char* data, uint32_t n) noexcept nogil:
    cdef Kept* kept = &x.bodies.down
    cdef uint32_t used = 0
    cdef int code
    if not x.flags & X_GATHER_DOWN:
        x.flags |= X_GATHER_DOWN
        if x.down.framing == BODY_LENGTH and x.answer.length > kept.limit:
            return RELAY_TOO_LARGE
        code = RELAY_DONE if x.down.framing == BODY_NONE else _keep(x, kept, &x.down, data, n, &used) if n else RELAY_MORE
    elif n == 0:
        code = RELAY_DONE if x.down.framing == BODY_EOF else RELAY_CUT
    else:
        code = _keep(x, kept, &x.down, data, n, &used)
    if code == RELAY_DONE:
        x.junk = used < n
        x.flags &= ~X_GATHER_DOWN
        kept.whole = 1
    return code


# Steps

cdef StepCall* request_body_step(Exchange* x) noexcept nogil:
    cdef Kept* kept = &x.bodies.up
    cdef const Watch* watch
    while kept.at < x.holds.n:
        watch = _watch_at(x, kept.at)
        kept.at += 1
        if watch != NULL and watch.request_body.run != NULL:
            return <StepCall*>&watch.request_body
    return NULL


cdef StepCall* response_body_step(Exchange* x) noexcept nogil:
    """As answers pass all steps, in reverse order."""
    cdef Kept* kept = &x.bodies.down
    cdef const Watch* watch
    while kept.at:
        kept.at -= 1
        watch = _watch_at(x, kept.at)
        if watch != NULL and watch.response_body.run != NULL:
            return <StepCall*>&watch.response_body
    return NULL


cdef StepCall* origin_step(Exchange* x, uint32_t* at) noexcept nogil:
    cdef const Watch* watch
    while at[0] < x.holds.n:
        watch = _watch_at(x, at[0])
        at[0] += 1
        if watch != NULL and watch.origin_request.run != NULL:
            return <StepCall*>&watch.origin_request
    return NULL


cdef bint origin_steps(Exchange* x) noexcept nogil:
    """Each try begins with the head as the request steps left it."""
    cdef uint32_t at = 0
    cdef StepCall* call
    if not _as_it_was(x):
        x.own.reason = R_OVERLOADED
        return False
    call = origin_step(x, &at)
    while call != NULL:
        if call.run(call.self, x) == STEP_ANSWER:
            return False
        call = origin_step(x, &at)
    return True


cdef bint _as_it_was(Exchange* x) noexcept nogil:
    """Writing a head marks fields and edits as gone: before the first try that is written down, before a later one undone. False: no memory."""
    cdef Bodies* bodies = x.bodies
    cdef Edits* edits = &x.origin_edits
    cdef uint8_t* flags
    cdef uint32_t i, size
    if bodies.was == NULL:
        size = edits.n * sizeof(Was) + x.head.n_fields + 1
        bodies.was = <Was*>malloc(size) if slab_has_room(&x.lane.reactor.slab, size) else NULL
        if bodies.was == NULL:
            return False
        x.lane.reactor.slab.held[0] += size
        bodies.was_bytes = size
        bodies.n_was = edits.n
        flags = <uint8_t*>(bodies.was + bodies.n_was)
        for i in range(edits.n):
            bodies.was[i].op = edits.items[i].op
            bodies.was[i].name_len = edits.items[i].name_len
        for i in range(x.head.n_fields):
            flags[i] = x.head.fields[i].flags
        return True
    flags = <uint8_t*>(bodies.was + bodies.n_was)
    edits.n = bodies.n_was
    for i in range(edits.n):
        edits.items[i].op = bodies.was[i].op
        edits.items[i].name_len = bodies.was[i].name_len
    for i in range(x.head.n_fields):
        x.head.fields[i].flags = flags[i]
    return True


# Framing and sending

cdef bint _declare(Exchange* x, Edits* edits, size_t n) noexcept nogil:
    """Content-Length in place of what framed the body before; trailers have gone with their chunks."""
    cdef char* room = text_room(x, DIGITS)
    cdef const char* first
    if room == NULL:
        return False
    first = decimal_before(room + DIGITS, n)
    return edit_push(edits, EDIT_REMOVE, b"Trailer", 7, NULL, 0) and edit_push(edits, EDIT_SET, b"Content-Length", 14, first, <uint32_t>(room + DIGITS - first))


cdef bint frame_up(Exchange* x) noexcept nogil:
    cdef Kept* kept = &x.bodies.up
    if x.request.framing == BODY_CHUNKED or (kept.replaced and (kept.n or x.request.framing == BODY_LENGTH)):
        if not _declare(x, &x.origin_edits, kept.n):
            return False
    x.request.framing = BODY_NONE       # nothing of it is left to be relayed
    if kept.n:
        x.flags |= X_KEPT
        x.flags &= ~X_UPGRADE           # a request with a body does not change protocols
    return True


cdef bint frame_down(Exchange* x) noexcept nogil:
    cdef Kept* kept = &x.bodies.down
    if x.down.framing == BODY_CHUNKED or x.down.framing == BODY_EOF or kept.replaced:
        if not _declare(x, &x.client_edits, kept.n):
            return False
    x.answer.framing = BODY_LENGTH
    body_start(&x.down, BODY_LENGTH, kept.n)
    x.flags |= X_KEPT_DOWN
    return True


cdef inline uint32_t _piece(const Kept* kept) noexcept nogil:
    return <uint32_t>(kept.n - kept.sent) if kept.n - kept.sent < RX_SIZE else RX_SIZE


cdef int send_up(Exchange* x, uint32_t head_n) noexcept nogil:
    cdef Kept* kept = &x.bodies.up
    cdef uint32_t piece
    cdef int code
    if head_n:
        kept.sent = 0
    x.flags |= X_UP_LEFT
    while True:
        piece = _piece(kept)
        code = conn_send2(x.origin, x.lane.reactor.tx, head_n, kept.data + kept.sent, piece) if head_n else conn_send(x.origin, kept.data + kept.sent, piece)
        head_n = 0
        kept.sent += piece
        if code == SEND_ERROR:
            return RELAY_BROKEN
        if kept.sent == kept.n:
            x.flags &= ~X_UP_LEFT
            return RELAY_DONE
        if code == SEND_QUEUED:
            return RELAY_STALL


cdef int send_down(Exchange* x, uint32_t head_n) noexcept nogil:
    cdef Kept* kept = &x.bodies.down
    cdef uint32_t piece
    cdef uint32_t used = 0
    cdef int code = RELAY_MORE
    while code == RELAY_MORE:
        piece = _piece(kept)
        code = relay_down(x, head_n, kept.data + kept.sent, piece, &used)
        head_n = 0
        kept.sent += piece
    return code


# In Python

cdef bint body_ready(Exchange* x, bint answer):
    """Made once; the bytes are then all there is of it. Until they are, there is room for both."""
    cdef Slab* slab = &x.lane.reactor.slab
    cdef Kept* kept = &x.bodies.down if answer else &x.bodies.up
    cdef bytes text
    if kept.text != NULL:
        return True
    if not slab_has_room(slab, kept.n):
        return False
    try:
        text = PyBytes_FromStringAndSize(kept.data, kept.n)
    except MemoryError:
        return False
    free(kept.data)
    _own(slab, kept, text)
    return True


cdef bytes body_bytes(Exchange* x, bint answer):
    return <bytes>(x.bodies.down.text if answer else x.bodies.up.text)


cdef void _own(Slab* slab, Kept* kept, bytes text):
    Py_INCREF(text)
    slab.held[0] += len(text)
    slab.held[0] -= kept.cap
    kept.text = <PyObject*>text
    kept.data = PyBytes_AS_STRING(text)
    kept.n = kept.cap = len(text)


cdef bint body_put(Exchange* x, bint answer, bytes text):
    cdef Slab* slab = &x.lane.reactor.slab
    cdef Kept* kept = &x.bodies.down if answer else &x.bodies.up
    if not slab_has_room(slab, len(text)):      # the hook may hold on to what was there before
        return False
    _drop(slab, kept)
    _own(slab, kept, text)
    kept.replaced = 1
    return True
