"""Non-blocking byte streams, plain or TLS behind one interface, and the epoll set they live in."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from gw._fast.slab cimport Buf, Slab
from gw._fast.wheel cimport Timer, Wheel

cdef extern from "sys/epoll.h" nogil:
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP


cdef enum:                      # Conn.kind
    CONN_DEAD = 0               # closed in this batch; its memory goes after the batch
    CONN_CLIENT = 1
    CONN_ORIGIN = 2
    CONN_LISTENER = 3
    CONN_CLOCK = 4              # the reactor's own timer descriptor
    CONN_LOOP = 5               # uvloop's epoll set

cdef enum:                      # Conn.flags
    READ_ON = 1                 # wants EPOLLIN
    PEER_EOF = 2                # the peer will send no more
    AGAIN = 4                   # bytes wait where epoll does not see them; queued for this batch's end
    TLS_OPEN = 8                # handshake done
    TLS_READ_WRITES = 16        # tls_recv or the handshake waits for EPOLLOUT
    CONNECTING = 32             # connect(2) has not finished
    BROKEN = 64                 # a send failed: nothing more will leave
    SHUT = 128                  # we said that we send no more
    REUSED = 256                # origin: it has carried an exchange before
    REGISTERED = 1024           # known to epoll

cdef enum:                      # conn_recv
    RECV_EOF = 0
    RECV_AGAIN = -1
    RECV_ERROR = -2

cdef enum:                      # conn_send, conn_flush
    SEND_DONE = 0               # the kernel has it all
    SEND_QUEUED = 1             # the rest is queued; EPOLLOUT is armed
    SEND_ERROR = -1

cdef enum:
    RX_SIZE = 131072            # bytes read at once when the message need not stay
    TX_SIZE = 262144            # room to build what goes out at once: a head and what one read can become
    READY = 512                 # events taken by one epoll_wait
    CONN_BYTES = 2048           # written down for a connection: its struct, and the kernel's socket, file and epoll entry
    TLS_BYTES = 49152           # and for what OpenSSL holds of it in the middle of a handshake, when it is most
    TLS_OPEN_BYTES = 28672      # after the handshake: its state, and a record of which only a part has come

ctypedef void (*Handler)(Conn* conn, uint32_t events) noexcept nogil


cdef struct Conn:
    Timer timer                 # first, so that an expired timer is its connection
    Reactor* reactor
    Handler on_event            # EPOLLIN, EPOLLOUT, EPOLLHUP ... ; may close the connection
    Handler on_timeout          # events is 0
    void* ssl                   # owned; NULL when plain
    Buf* inbuf                  # owned: bytes read and kept; NULL on an idle connection
    Buf* out                    # owned: queue of what the kernel did not take
    Buf* out_last
    void* exchange              # borrowed: what it works for now
    void* owner                 # borrowed: Listener of a client, Pool of an origin
    Conn* next                  # list of its owner (clients of the lane, idle origins of a pool), or the graveyard
    Conn* prev
    Conn* again_next
    uint64_t out_bytes          # bytes in the queue
    int64_t since_us            # when its current phase began
    int fd
    uint32_t interest           # events registered with epoll
    uint32_t served             # exchanges carried
    uint16_t flags
    uint8_t kind
    uint8_t state               # meaning belongs to the handler
    uint16_t port               # client: peer's port
    uint8_t addr_len            # client: bytes of addr
    uint8_t trusted             # client: peer is a trusted proxy
    uint8_t lingers             # client: unread bytes of a request are expected after our answer
    uint16_t choice             # origin: index of the endpoint it was picked as
    char addr[46]               # client: peer's address as text
    uint8_t ip_known            # client: ip is set
    uint8_t ip[16]              # client: addr as bytes, IPv4 inside IPv6


cdef struct Reactor:
    int epfd
    int clockfd
    int64_t now_ms              # CLOCK_MONOTONIC at the last epoll_wait
    int64_t now_us
    int64_t wall_us             # CLOCK_REALTIME less CLOCK_MONOTONIC, as of the last tick: what dates in messages are judged by
    Wheel wheel
    Slab slab
    Conn* graveyard             # closed in this batch
    Conn* spare                 # free list
    uint32_t n_spare
    uint32_t n_conns            # open
    Conn* again                 # see AGAIN
    char* rx                    # RX_SIZE bytes; valid until the next conn_recv
    char* tx                    # TX_SIZE bytes; valid until the handler returns
    void* lane                  # borrowed: for handlers
    int64_t date_second
    char date[32]               # "Date: ...\r\n" is built from it; IMF-fixdate of date_second
    uint8_t ticked              # the clock descriptor fired in this batch
    uint8_t outer               # uvloop has events
    uint8_t python              # steps in Python run: a batch takes the GIL once instead of once a hook


cdef bint reactor_init(Reactor* reactor) noexcept nogil
cdef void reactor_free(Reactor* reactor) noexcept nogil
cdef bint reactor_turn(Reactor* reactor, int wait_ms) noexcept nogil  # waits once, handles what came; False when nothing did
cdef void reactor_clock(Reactor* reactor) noexcept nogil
cdef int64_t reactor_wall(Reactor* reactor) noexcept nogil          # seconds since 1970
cdef const char* reactor_date(Reactor* reactor) noexcept nogil      # 29 bytes, IMF-fixdate

cdef Conn* conn_new(Reactor* reactor, int fd, uint8_t kind, Handler on_event, Handler on_timeout) noexcept nogil
cdef bint conn_secure(Conn* conn, void* ssl) noexcept nogil          # takes the TLS connection over; False when it is NULL
cdef void conn_opened(Conn* conn) noexcept nogil                     # the handshake is done
cdef void conn_plain(Conn* conn) noexcept nogil                      # frees it
cdef void conn_close(Conn* conn) noexcept nogil
cdef void conn_abort(Conn* conn) noexcept nogil                      # close with RST: the peer must see that it was cut
cdef void conn_watch(Conn* conn) noexcept nogil                      # registers what flags and queue ask for
cdef void conn_unwatch(Conn* conn) noexcept nogil                    # not even hang-ups, until conn_watch
cdef void conn_again(Conn* conn) noexcept nogil                      # call its handler at the end of this batch as if it were readable
cdef void conn_read_on(Conn* conn) noexcept nogil
cdef void conn_read_off(Conn* conn) noexcept nogil
cdef ssize_t conn_recv(Conn* conn, char* buf, size_t n) noexcept nogil
cdef int conn_send(Conn* conn, const char* data, size_t n) noexcept nogil
cdef int conn_send2(Conn* conn, char* head, size_t head_n, const char* body, size_t body_n) noexcept nogil   # head lies in reactor.tx
cdef int conn_flush(Conn* conn) noexcept nogil
cdef void conn_shut(Conn* conn) noexcept nogil                       # no more from us; the peer may go on
cdef int conn_connected(Conn* conn) noexcept nogil                   # after EPOLLOUT while CONNECTING: 0 or errno
cdef int64_t clock_us() noexcept nogil                               # CLOCK_MONOTONIC
