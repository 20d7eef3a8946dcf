from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, itimerspec, timespec
from posix.types cimport time_t
from posix.unistd cimport close, read

from gw._fast.slab cimport SPARES, buf_give, buf_take, slab_clear, slab_init
from gw._fast.tls cimport TLS_EOF, TLS_WANT_READ, TLS_WANT_WRITE, tls_free, tls_pending, tls_recv, tls_send, tls_shutdown
from gw._fast.wheel cimport TICK_MS, timer_clear, timer_init, wheel_advance, wheel_init

cdef extern from "sys/epoll.h" nogil:
    enum:
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
        EPOLL_CTL_DEL
        EPOLL_CLOEXEC
    union epoll_data_t:
        void* ptr
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int maxevents, int timeout)

cdef extern from "sys/timerfd.h" nogil:
    enum:
        TFD_NONBLOCK
        TFD_CLOEXEC
    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec* value, itimerspec* old)

cdef extern from "sys/socket.h" nogil:
    enum:
        MSG_NOSIGNAL
        SHUT_WR
        SOL_SOCKET
        SO_ERROR
        SO_LINGER
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    struct linger:
        int l_onoff
        int l_linger
    ssize_t recv(int fd, void* buf, size_t n, int flags)
    ssize_t send(int fd, const void* buf, size_t n, int flags)
    ssize_t sendmsg(int fd, const msghdr* message, int flags)
    int shutdown(int fd, int how)
    int setsockopt(int fd, int level, int name, const void* value, uint32_t size)
    int getsockopt(int fd, int level, int name, void* value, uint32_t* size)

cdef extern from "time.h" nogil:
    struct tm:
        int tm_sec
        int tm_min
        int tm_hour
        int tm_mday
        int tm_mon
        int tm_year
        int tm_wday
    tm* gmtime_r(const time_t* seconds, tm* out)

cdef enum:
    SPARE_CONNS = 4096          # closed connections whose structs are kept
    KEEP_BUFS = 1024            # free buffers kept: 32 MiB of addresses, the touched part of it in memory
    FIRST_CAP = 32768           # bytes per buffer until a snapshot asks for more


cdef int64_t clock_us() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000 + now.tv_nsec // 1000


cdef void reactor_clock(Reactor* reactor) noexcept nogil:
    reactor.now_us = clock_us()
    reactor.now_ms = reactor.now_us // 1000


cdef void _set_wall(Reactor* reactor) noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    reactor.wall_us = <int64_t>now.tv_sec * 1000000 + now.tv_nsec // 1000 - clock_us()


cdef int64_t reactor_wall(Reactor* reactor) noexcept nogil:
    return (reactor.wall_us + reactor.now_us) // 1000000


cdef void _on_clock(Conn* conn, uint32_t events) noexcept nogil:
    cdef uint64_t ticks
    if read(conn.fd, &ticks, sizeof(ticks)) > 0:
        conn.reactor.ticked = 1


cdef void _expired(Timer* timer) noexcept nogil:
    cdef Conn* conn = <Conn*>timer
    conn.on_timeout(conn, 0)


cdef bint reactor_init(Reactor* reactor) noexcept nogil:
    cdef itimerspec every
    cdef Conn* clock
    memset(reactor, 0, sizeof(Reactor))
    reactor.epfd = epoll_create1(EPOLL_CLOEXEC)
    reactor.clockfd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
    reactor.rx = <char*>malloc(RX_SIZE)
    reactor.tx = <char*>malloc(TX_SIZE)
    if reactor.epfd < 0 or reactor.clockfd < 0 or reactor.rx == NULL or reactor.tx == NULL:
        return False
    memset(&every, 0, sizeof(every))
    every.it_interval.tv_nsec = 2 * TICK_MS * 1000000
    every.it_value = every.it_interval
    timerfd_settime(reactor.clockfd, 0, &every, NULL)
    slab_init(&reactor.slab, FIRST_CAP, SPARES * KEEP_BUFS)
    reactor_clock(reactor)
    _set_wall(reactor)
    wheel_init(&reactor.wheel, reactor.now_ms)
    clock = conn_new(reactor, reactor.clockfd, CONN_CLOCK, _on_clock, _on_clock)
    if clock == NULL:
        return False
    conn_read_on(clock)
    return True


cdef void reactor_free(Reactor* reactor) noexcept nogil:
    cdef Conn* conn
    while reactor.again != NULL:
        conn = reactor.again
        reactor.again = conn.again_next
        conn.flags &= ~AGAIN
    _bury(reactor)
    while reactor.spare != NULL:
        conn = reactor.spare
        reactor.spare = conn.next
        free(conn)
    slab_clear(&reactor.slab)
    free(reactor.rx)
    free(reactor.tx)
    reactor.rx = NULL
    reactor.tx = NULL
    if reactor.epfd >= 0:
        close(reactor.epfd)
    if reactor.clockfd >= 0:
        close(reactor.clockfd)


cdef void _bury(Reactor* reactor) noexcept nogil:
    cdef Conn* conn = reactor.graveyard
    cdef Conn* following
    reactor.graveyard = NULL
    while conn != NULL:
        following = conn.next
        if conn.flags & AGAIN:              # still a link of that list, which takes it off first
            conn.next = reactor.graveyard
            reactor.graveyard = conn
        elif reactor.n_spare < SPARES * SPARE_CONNS:
            conn.next = reactor.spare
            reactor.spare = conn
            reactor.n_spare += 1
        else:
            free(conn)
        conn = following


cdef void _run_again(Reactor* reactor) noexcept nogil:
    """One round over the connections that have bytes epoll cannot see; what they leave waits for the next round."""
    cdef Conn* conn = reactor.again
    cdef Conn* following
    reactor.again = NULL
    while conn != NULL:
        following = conn.again_next
        conn.flags &= ~AGAIN
        if conn.kind != CONN_DEAD and conn.flags & READ_ON:
            conn.on_event(conn, EPOLLIN)
        conn = following


cdef void _batch(Reactor* reactor, epoll_event* events, int n) noexcept nogil:
    cdef Conn* conn
    cdef int i
    for i in range(n):
        conn = <Conn*>events[i].data.ptr
        if conn.kind == CONN_DEAD:
            continue
        if conn.flags & TLS_READ_WRITES and events[i].events & EPOLLOUT:
            conn.flags &= ~TLS_READ_WRITES
            events[i].events |= EPOLLIN
            conn_watch(conn)
        conn.on_event(conn, events[i].events)
    if reactor.again != NULL:
        _run_again(reactor)
    if reactor.graveyard != NULL:
        _bury(reactor)
    if reactor.ticked:
        reactor.ticked = 0
        _set_wall(reactor)
        wheel_advance(&reactor.wheel, reactor.now_ms, _expired)
        _bury(reactor)


cdef void _batch_held(Reactor* reactor, epoll_event* events, int n) noexcept with gil:
    _batch(reactor, events, n)


cdef bint reactor_turn(Reactor* reactor, int wait_ms) noexcept nogil:
    cdef epoll_event events[READY]
    cdef int n = epoll_wait(reactor.epfd, events, READY, wait_ms if reactor.again == NULL else 0)
    cdef bint came = n > 0 or reactor.again != NULL
    reactor_clock(reactor)
    if reactor.python:
        _batch_held(reactor, events, n)
    else:
        _batch(reactor, events, n)
    return came


cdef const char* reactor_date(Reactor* reactor) noexcept nogil:
    cdef timespec wall
    cdef time_t seconds
    cdef tm t
    clock_gettime(CLOCK_REALTIME, &wall)
    if wall.tv_sec != reactor.date_second:
        reactor.date_second = wall.tv_sec
        seconds = wall.tv_sec
        gmtime_r(&seconds, &t)
        _write_date(reactor.date, &t)
    return reactor.date


cdef void _two(char* out, int value) noexcept nogil:
    out[0] = <char>(48 + value // 10 % 10)
    out[1] = <char>(48 + value % 10)


cdef void _write_date(char* out, const tm* t) noexcept nogil:
    cdef const char* days = b"SunMonTueWedThuFriSat"
    cdef const char* months = b"JanFebMarAprMayJunJulAugSepOctNovDec"
    memcpy(out, b"Sun, 00 Jan 0000 00:00:00 GMT", 30)
    memcpy(out, days + 3 * t.tm_wday, 3)
    _two(out + 5, t.tm_mday)
    memcpy(out + 8, months + 3 * t.tm_mon, 3)
    _two(out + 12, (t.tm_year + 1900) // 100)
    _two(out + 14, t.tm_year % 100)
    _two(out + 17, t.tm_hour)
    _two(out + 20, t.tm_min)
    _two(out + 23, t.tm_sec)


cdef Conn* conn_new(Reactor* reactor, int fd, uint8_t kind, Handler on_event, Handler on_timeout) noexcept nogil:
    cdef Conn* conn = reactor.spare
    if conn != NULL:
        reactor.spare = conn.next
        reactor.n_spare -= 1
    else:
        conn = <Conn*>malloc(sizeof(Conn))
        if conn == NULL:
            return NULL
    memset(conn, 0, sizeof(Conn))
    timer_init(&conn.timer)
    conn.reactor = reactor
    conn.fd = fd
    conn.kind = kind
    conn.on_event = on_event
    conn.on_timeout = on_timeout
    reactor.n_conns += 1
    reactor.slab.held[0] += CONN_BYTES
    return conn


cdef bint conn_secure(Conn* conn, void* ssl) noexcept nogil:
    conn.ssl = ssl
    if ssl != NULL:
        conn.reactor.slab.held[0] += TLS_BYTES
    return ssl != NULL


cdef void conn_opened(Conn* conn) noexcept nogil:
    if not conn.flags & TLS_OPEN:
        conn.flags |= TLS_OPEN
        conn.reactor.slab.held[0] -= TLS_BYTES - TLS_OPEN_BYTES


cdef void conn_plain(Conn* conn) noexcept nogil:
    tls_free(conn.ssl)
    conn.ssl = NULL
    conn.reactor.slab.held[0] -= TLS_OPEN_BYTES if conn.flags & TLS_OPEN else TLS_BYTES


cdef void conn_close(Conn* conn) noexcept nogil:
    cdef Reactor* reactor = conn.reactor
    cdef Buf* buf
    if conn.kind == CONN_DEAD:
        return
    if conn.kind == CONN_LISTENER:          # the supervisor holds the same socket: closing our descriptor does not end the registration
        conn_unwatch(conn)
    conn.kind = CONN_DEAD
    timer_clear(&conn.timer)
    if conn.ssl != NULL:
        if not conn.flags & BROKEN:
            tls_shutdown(conn.ssl)
        conn_plain(conn)
    if conn.inbuf != NULL:
        buf_give(&reactor.slab, conn.inbuf)
        conn.inbuf = NULL
    while conn.out != NULL:
        buf = conn.out
        conn.out = buf.next
        buf_give(&reactor.slab, buf)
    conn.out_last = NULL
    close(conn.fd)
    conn.fd = -1
    reactor.n_conns -= 1
    reactor.slab.held[0] -= CONN_BYTES
    conn.next = reactor.graveyard
    reactor.graveyard = conn


cdef void conn_abort(Conn* conn) noexcept nogil:
    cdef linger hard
    if conn.kind == CONN_DEAD:
        return
    hard.l_onoff = 1
    hard.l_linger = 0
    setsockopt(conn.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard))
    conn.flags |= BROKEN
    conn_close(conn)


cdef void conn_watch(Conn* conn) noexcept nogil:
    cdef epoll_event event
    cdef uint32_t wanted = 0
    if conn.flags & READ_ON and not conn.flags & PEER_EOF:
        wanted |= EPOLLIN
    if conn.out != NULL or conn.flags & (CONNECTING | TLS_READ_WRITES):
        wanted |= EPOLLOUT
    if wanted == conn.interest:
        return
    event.events = wanted
    event.data.ptr = conn
    # Interest 0 stays registered: hang-ups are reported all the same.
    epoll_ctl(conn.reactor.epfd, EPOLL_CTL_MOD if conn.flags & REGISTERED else EPOLL_CTL_ADD, conn.fd, &event)
    conn.flags |= REGISTERED
    conn.interest = wanted


cdef void conn_unwatch(Conn* conn) noexcept nogil:
    if conn.flags & REGISTERED:
        epoll_ctl(conn.reactor.epfd, EPOLL_CTL_DEL, conn.fd, NULL)
        conn.flags &= ~REGISTERED
        conn.interest = 0


cdef void conn_again(Conn* conn) noexcept nogil:
    if not conn.flags & AGAIN:
        conn.flags |= AGAIN
        conn.again_next = conn.reactor.again
        conn.reactor.again = conn


cdef void conn_read_on(Conn* conn) noexcept nogil:
    if not conn.flags & READ_ON:
        conn.flags |= READ_ON
        conn_watch(conn)
    if conn.ssl != NULL and tls_pending(conn.ssl):
        conn_again(conn)


cdef void conn_read_off(Conn* conn) noexcept nogil:
    if conn.flags & READ_ON:
        conn.flags &= ~READ_ON
        conn_watch(conn)


cdef ssize_t _tls_recv(Conn* conn, char* buf, size_t n) noexcept nogil:
    cdef ssize_t got = tls_recv(conn.ssl, buf, n)
    if got > 0:
        if tls_pending(conn.ssl):
            conn_again(conn)
        return got
    if got == TLS_WANT_READ:
        return RECV_AGAIN
    if got == TLS_WANT_WRITE:
        conn.flags |= TLS_READ_WRITES
        conn_watch(conn)
        return RECV_AGAIN
    if got == TLS_EOF:
        return RECV_EOF
    conn.flags |= BROKEN
    return RECV_ERROR


cdef ssize_t conn_recv(Conn* conn, char* buf, size_t n) noexcept nogil:
    cdef ssize_t got
    if conn.ssl != NULL:
        return _tls_recv(conn, buf, n)
    while True:
        got = recv(conn.fd, buf, n, 0)
        if got >= 0:
            return got
        if errno == EINTR:
            continue
        return RECV_AGAIN if errno == EAGAIN else RECV_ERROR


cdef ssize_t _push(Conn* conn, const char* data, size_t n) noexcept nogil:
    """Bytes the kernel took, 0 when it is full, -1 when the connection is gone."""
    cdef ssize_t sent
    if conn.ssl != NULL:
        sent = tls_send(conn.ssl, data, n)
        if sent > 0:
            return sent
        return 0 if sent == TLS_WANT_WRITE or sent == TLS_WANT_READ else -1
    while True:
        sent = send(conn.fd, data, n, MSG_NOSIGNAL)
        if sent >= 0:
            return sent
        if errno != EINTR:
            return 0 if errno == EAGAIN else -1


cdef int _queue(Conn* conn, const char* data, size_t n) noexcept nogil:
    cdef Buf* buf
    cdef size_t take
    while n:
        buf = conn.out_last
        if buf == NULL or buf.end == buf.cap:
            buf = buf_take(&conn.reactor.slab)
            if buf == NULL:
                conn.flags |= BROKEN
                return SEND_ERROR
            if conn.out_last == NULL:
                conn.out = buf
            else:
                conn.out_last.next = buf
            conn.out_last = buf
        take = buf.cap - buf.end
        if take > n:
            take = n
        memcpy(buf.data + buf.end, data, take)
        buf.end += <uint32_t>take
        conn.out_bytes += take
        data += take
        n -= take
    conn_watch(conn)
    return SEND_QUEUED


cdef int conn_send(Conn* conn, const char* data, size_t n) noexcept nogil:
    cdef ssize_t sent
    if conn.flags & BROKEN:
        return SEND_ERROR
    if conn.out == NULL and not conn.flags & CONNECTING:
        while n:
            sent = _push(conn, data, n)
            if sent < 0:
                conn.flags |= BROKEN
                return SEND_ERROR
            data += sent
            n -= sent
            if sent == 0 or (n and conn.ssl == NULL):
                break
        if n == 0:
            return SEND_DONE
    return _queue(conn, data, n)


cdef int conn_send2(Conn* conn, char* head, size_t head_n, const char* body, size_t body_n) noexcept nogil:
    cdef iovec parts[2]
    cdef msghdr message
    cdef ssize_t sent
    if conn.ssl != NULL or conn.out != NULL or conn.flags & (CONNECTING | BROKEN) or body_n <= 4096:
        memcpy(head + head_n, body, body_n)
        return conn_send(conn, head, head_n + body_n)
    memset(&message, 0, sizeof(message))
    parts[0].iov_base = head
    parts[0].iov_len = head_n
    parts[1].iov_base = <void*>body
    parts[1].iov_len = body_n
    message.msg_iov = parts
    message.msg_iovlen = 2
    while True:
        sent = sendmsg(conn.fd, &message, MSG_NOSIGNAL)
        if sent >= 0:
            break
        if errno == EAGAIN:
            sent = 0
            break
        if errno != EINTR:
            conn.flags |= BROKEN
            return SEND_ERROR
    if <size_t>sent == head_n + body_n:
        return SEND_DONE
    if <size_t>sent < head_n:
        if _queue(conn, head + sent, head_n - sent) == SEND_ERROR:
            return SEND_ERROR
        return _queue(conn, body, body_n)
    return _queue(conn, body + (sent - head_n), body_n - (sent - head_n))


cdef int conn_flush(Conn* conn) noexcept nogil:
    cdef Buf* buf
    cdef ssize_t sent
    while conn.out != NULL:
        buf = conn.out
        sent = _push(conn, buf.data + buf.start, buf.end - buf.start)
        if sent < 0:
            conn.flags |= BROKEN
            return SEND_ERROR
        buf.start += <uint32_t>sent
        conn.out_bytes -= sent
        if buf.start < buf.end:
            return SEND_QUEUED
        conn.out = buf.next
        if conn.out == NULL:
            conn.out_last = NULL
        buf_give(&conn.reactor.slab, buf)
    conn_watch(conn)
    return SEND_DONE


cdef void conn_shut(Conn* conn) noexcept nogil:
    if conn.flags & SHUT:
        return
    conn.flags |= SHUT
    if conn.ssl != NULL:
        tls_shutdown(conn.ssl)
    shutdown(conn.fd, SHUT_WR)


cdef int conn_connected(Conn* conn) noexcept nogil:
    cdef int code = 0
    cdef uint32_t size = sizeof(code)
    if getsockopt(conn.fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0:
        return errno
    if code == 0:
        conn.flags &= ~CONNECTING
        conn_watch(conn)
    return code
