from libc.errno cimport EINPROGRESS, errno
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from posix.unistd cimport close

from gw._fast.plane cimport O_BUSY, O_CONNECT, O_HANDSHAKE, O_IDLE, sockaddr, socklen_t
from gw._fast.recall cimport recall_free
from gw._fast.shm cimport endpoint_connected
from gw._fast.stream cimport (
    CONN_ORIGIN, CONNECTING, PEER_EOF, RECV_AGAIN, REUSED, TLS_READ_WRITES, conn_abort, conn_close, conn_new, conn_opened, conn_read_on, conn_recv, conn_secure,
    conn_watch,
)
from gw._fast.tls cimport TLS_ERROR, TLS_OK, TLS_WANT_WRITE, tls_connect, tls_handshake, tls_pending
from gw._fast.wheel cimport timer_off, timer_set

cdef extern from "sys/epoll.h" nogil:
    enum:
        EPOLLIN

cdef extern from "sys/socket.h" nogil:
    enum:
        AF_UNIX
        SOCK_STREAM
        SOCK_NONBLOCK
        SOCK_CLOEXEC
    int socket(int domain, int type, int protocol)
    int connect(int fd, const sockaddr* address, socklen_t size)
    int setsockopt(int fd, int level, int name, const void* value, socklen_t size)

cdef extern from "netinet/in.h" nogil:
    enum:
        IPPROTO_TCP

cdef extern from "netinet/tcp.h" nogil:
    enum:
        TCP_NODELAY


cdef Pool* pool_new(Reactor* reactor) noexcept nogil:
    cdef Pool* pool = <Pool*>calloc(1, sizeof(Pool))
    if pool != NULL:
        pool.reactor = reactor
    return pool


cdef void pool_free(Pool* pool) noexcept nogil:
    pool_clear(pool)
    recall_free(&pool.recall, &pool.reactor.slab)
    free(pool)


cdef void pool_clear(Pool* pool) noexcept nogil:
    while pool.idle != NULL:
        _forget(pool.idle)


cdef void _unlink(Pool* pool, Conn* conn) noexcept nogil:
    if conn.prev != NULL:
        conn.prev.next = conn.next
    else:
        pool.idle = conn.next
    if conn.next != NULL:
        conn.next.prev = conn.prev
    conn.next = NULL
    conn.prev = NULL
    pool.n_idle -= 1


cdef void _forget(Conn* conn) noexcept nogil:
    cdef Pool* pool = <Pool*>conn.owner
    _unlink(pool, conn)
    pool.n_open -= 1
    conn_close(conn)


cdef void _idle_event(Conn* conn, uint32_t events) noexcept nogil:
    # Bytes, an end or an error between two exchanges: whatever it is, it is no answer to anything. Records of TLS itself are none of these.
    if conn.ssl == NULL or not events & EPOLLIN or not _silent(conn):
        _forget(conn)


cdef bint _silent(Conn* conn) noexcept nogil:
    """No byte of the origin waits inside OpenSSL or, now, in the socket."""
    cdef char found
    return conn_recv(conn, &found, 1) == RECV_AGAIN


cdef Conn* pool_take(Pool* pool) noexcept nogil:
    cdef Conn* conn = pool.idle
    if conn == NULL:
        return NULL
    _unlink(pool, conn)
    conn.state = O_BUSY
    conn.flags |= REUSED
    timer_off(&conn.timer)
    return conn


cdef Conn* pool_open(Pool* pool, Handler on_event, Handler on_timeout, int64_t connect_ms, int* error) noexcept nogil:
    cdef Conn* conn
    cdef uint32_t i
    cdef int fd
    cdef int on = 1
    if pool.n_addresses == 0:
        error[0] = POOL_NO_ADDRESS
        return NULL
    if pool.max_open and pool.n_open >= pool.max_open:
        error[0] = POOL_FULL
        return NULL
    i = pool.next_address % pool.n_addresses
    pool.next_address = i + 1
    fd = socket(pool.addresses[i].ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if fd < 0:
        error[0] = errno
        return NULL
    if pool.addresses[i].ss_family != AF_UNIX:
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))
    if connect(fd, <const sockaddr*>&pool.addresses[i], pool.address_len[i]) < 0 and errno != EINPROGRESS:
        error[0] = errno
        close(fd)
        return NULL
    conn = conn_new(pool.reactor, fd, CONN_ORIGIN, on_event, on_timeout)
    if conn == NULL:
        close(fd)
        error[0] = errno
        return NULL
    pool.n_open += 1
    endpoint_connected(pool.state)
    conn.owner = pool
    conn.state = O_CONNECT
    conn.flags |= CONNECTING
    conn.since_us = pool.reactor.now_us
    timer_set(&pool.reactor.wheel, &conn.timer, pool.reactor.now_ms + connect_ms)
    conn_watch(conn)
    return conn


cdef int pool_handshake(Conn* conn) noexcept nogil:
    cdef Pool* pool = <Pool*>conn.owner
    cdef int code
    if conn.ssl == NULL:
        if not conn_secure(conn, tls_connect(pool.tls, conn.fd, pool.tls_name)):
            return TLS_ERROR
        conn.state = O_HANDSHAKE
        conn_read_on(conn)
    code = tls_handshake(conn.ssl)
    conn.flags &= ~TLS_READ_WRITES
    if code == TLS_WANT_WRITE:
        conn.flags |= TLS_READ_WRITES
    elif code == TLS_OK:
        conn_opened(conn)
    conn_watch(conn)
    return code


cdef void pool_give(Pool* pool, Conn* conn) noexcept nogil:
    if pool.n_idle >= pool.max_idle or conn.out != NULL or conn.inbuf != NULL or conn.flags & PEER_EOF or (conn.ssl != NULL and tls_pending(conn.ssl) and not _silent(conn)):
        pool_drop(pool, conn, False)
        return
    conn.exchange = NULL
    conn.state = O_IDLE
    conn.served += 1
    conn.on_event = _idle_event
    conn.on_timeout = _idle_event
    conn.prev = NULL
    conn.next = pool.idle
    if pool.idle != NULL:
        pool.idle.prev = conn
    pool.idle = conn
    pool.n_idle += 1
    timer_set(&pool.reactor.wheel, &conn.timer, pool.reactor.now_ms + pool.idle_ms)
    conn_read_on(conn)


cdef void pool_drop(Pool* pool, Conn* conn, bint abort) noexcept nogil:
    pool.n_open -= 1
    conn.exchange = NULL
    if abort:
        conn_abort(conn)
    else:
        conn_close(conn)
