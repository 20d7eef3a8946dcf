cimport cython
import os

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.errno cimport EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset, strlen
from posix.unistd cimport close

from gw._fast.client cimport client_close, clients_reclaim
from gw._fast.exchange cimport client_event, client_timeout, exchange_resume
from gw._fast.life cimport exchange_abort, exchange_free_spares, exchange_tunnel_ended
from gw._fast.answer cimport R_DRAINING, R_OVERLOADED
from gw._fast.forward cimport address_trusted
from gw._fast.python_step cimport hooks_release
from gw._fast.logbuf cimport LOG_BATCH, LOG_MIN, log_count_into, log_flush, log_free, log_new, log_pending, log_set_fd
from gw._fast.pick cimport picker_init
from gw._fast.plane cimport BY_GATEWAY, C_HANDSHAKE, C_HEAD, C_IDLE, C_PROXY, Exchange, Listener, Pool, Service, SnapshotState, sockaddr, sockaddr_storage, socklen_t
from gw._fast.pool cimport pool_clear, pool_free, pool_new
from gw._fast.shm cimport shm_endpoint, shm_route, shm_share, shm_worker
from gw._fast.slab cimport ALARM_ASK, ALARM_FULL, slab_clear, slab_has_room
from gw._fast.stream cimport (
    CONN_BYTES, CONN_CLIENT, CONN_LISTENER, CONN_LOOP, TLS_BYTES, Conn, Reactor, clock_us, conn_close, conn_new, conn_read_off, conn_read_on, conn_secure, reactor_free,
    reactor_init, reactor_turn,
)
from gw._fast.tls cimport ClientContext, ServerContext, tls_accept
from gw._fast.uv cimport uv_descriptor, uv_join, uv_leave, uv_wait_ms
from gw._fast.wheel cimport timer_set

cdef extern from "sys/socket.h" nogil:
    enum:
        AF_INET
        AF_INET6
        AF_UNIX
        SOCK_NONBLOCK
        SOCK_CLOEXEC
    int accept4(int fd, sockaddr* address, socklen_t* size, int flags)

cdef extern from "sys/un.h" nogil:
    struct sockaddr_un:
        uint16_t sun_family
        char sun_path[108]

cdef extern from "netinet/in.h" nogil:
    struct in_addr:
        pass
    struct in6_addr:
        uint8_t s6_addr[16]
    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_family
        uint16_t sin6_port
        in6_addr sin6_addr

cdef extern from "arpa/inet.h" nogil:
    const char* inet_ntop(int family, const void* src, char* out, socklen_t size)
    int inet_pton(int family, const char* text, void* out)
    uint16_t ntohs(uint16_t value)
    uint16_t htons(uint16_t value)

cdef extern from "malloc.h" nogil:
    int malloc_trim(size_t pad)

cdef extern from *:
    """
    #include <sys/random.h>
    """
    ssize_t getrandom(void* buf, size_t n, unsigned int flags) nogil

cdef enum:
    BUDGET_US = 500             # one drain
    ACCEPTS = 16                # connections taken per wake-up of a listener
    SWEEP_MS = 100              # gauges, heartbeat, log age
    HEAD_ROOM = 16384           # a buffer holds the largest head and this much behind it


# Accepting

cdef void _name_peer(Conn* conn, sockaddr_storage* address) noexcept nogil:
    cdef sockaddr_in6* six = <sockaddr_in6*>address
    if address.ss_family == AF_INET:
        inet_ntop(AF_INET, &(<sockaddr_in*>address).sin_addr, conn.addr, 46)
        conn.port = ntohs((<sockaddr_in*>address).sin_port)
    elif address.ss_family == AF_INET6:
        inet_ntop(AF_INET6, &six.sin6_addr, conn.addr, 46)
        conn.port = ntohs(six.sin6_port)
        if conn.addr[0] == c":" and conn.addr[1] == c":" and strlen(conn.addr) > 7 and (conn.addr[2] | 32) == c"f" and conn.addr[6] == c":" and six.sin6_addr.s6_addr[10] == 255:
            inet_ntop(AF_INET, &six.sin6_addr.s6_addr[12], conn.addr, 46)     # IPv4 on a dual-stack socket
    else:
        memcpy(conn.addr, b"unix:", 6)
    conn.addr_len = <uint8_t>strlen(conn.addr)


cdef bint _welcome(LaneState* lane, Listener* listener, int fd, sockaddr_storage* address) noexcept nogil:
    cdef Conn* conn = NULL
    if slab_has_room(&lane.reactor.slab, CONN_BYTES + (TLS_BYTES if listener.tls != NULL else 0)):
        conn = conn_new(&lane.reactor, fd, CONN_CLIENT, client_event, client_timeout)
    if conn == NULL:
        return False
    conn.owner = listener
    _name_peer(conn, address)
    if lane.snapshot.n_trusted:
        conn.trusted = address_trusted(lane.snapshot, conn.addr, conn.addr_len)
    conn.prev = lane.clients.prev
    conn.next = &lane.clients
    conn.prev.next = conn
    lane.clients.prev = conn
    lane.n_clients += 1
    listener.n_conns += 1
    lane.stats.accepted += 1
    if listener.proxy_in:
        if not conn.trusted and not listener.is_unix:       # the mode of a Unix socket says who may speak
            client_close(conn)
            return True
        conn.state = C_PROXY
    elif listener.tls != NULL:
        conn.state = C_HANDSHAKE
        if not conn_secure(conn, tls_accept(listener.tls, fd)):
            client_close(conn)
            return True
    timer_set(&lane.reactor.wheel, &conn.timer, lane.reactor.now_ms + lane.snapshot.head_ms)
    conn_read_on(conn)
    return True


cdef void _pause(LaneState* lane) noexcept nogil:
    """Out of descriptors or memory: level-triggered accepts would spin. The next sweep tries again."""
    cdef Listener* listener = lane.listeners
    lane.paused = 1
    lane.stats.accept_pauses += 1
    while listener != NULL:
        if not listener.closed:             # its connection's memory is another one's by now
            conn_read_off(listener.conn)
        listener = listener.next


cdef void _resume_accepts(LaneState* lane) noexcept nogil:
    cdef Listener* listener = lane.listeners
    lane.paused = 0
    while listener != NULL:
        if not listener.closed:
            conn_read_on(listener.conn)
        listener = listener.next


cdef void _on_accept(Conn* conn, uint32_t events) noexcept nogil:
    cdef Listener* listener = <Listener*>conn.owner
    cdef LaneState* lane = <LaneState*>conn.reactor.lane
    cdef sockaddr_storage address
    cdef socklen_t size
    cdef int fd, _i
    for _i in range(ACCEPTS):
        if listener.max_conns and listener.n_conns >= listener.max_conns and not clients_reclaim(lane):
            _pause(lane)
            return
        size = sizeof(address)
        fd = accept4(conn.fd, <sockaddr*>&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd < 0:
            if errno == EAGAIN:
                return
            if errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM) and not clients_reclaim(lane):
                _pause(lane)
                return
            continue                    # the peer left before we came, or room was made
        if not _welcome(lane, listener, fd, &address):
            close(fd)
            lane.stats.refused += 1
            _pause(lane)
            return


cdef void _no_timeout(Conn* conn, uint32_t events) noexcept nogil:
    pass


cdef void _sweep(LaneState* lane) noexcept nogil:
    """Ten times a second: what nobody needs to know sooner."""
    cdef Pool* pool = lane.pools
    cdef uint64_t idle = 0, opened = 0
    lane.swept_ms = lane.reactor.now_ms
    while pool != NULL:
        idle += pool.n_idle
        opened += pool.n_open
        pool = pool.next
    lane.stats.heartbeat_ms = lane.reactor.now_ms
    lane.stats.connections = lane.n_clients
    lane.stats.exchanges = lane.n_exchanges - lane.stats.tunnels
    lane.stats.origins = opened
    lane.stats.idle_origins = idle
    lane.stats.buffer_bytes = lane.reactor.slab.n_taken * lane.reactor.slab.cap
    lane.stats.accept_paused = lane.paused
    if lane.alarm or lane.shedding:
        _answer_alarm(lane)
    if lane.paused and not lane.draining:
        _resume_accepts(lane)
    if lane.retired:
        _release(lane)


cdef void _on_alarm(void* owner, int alarm) noexcept nogil:
    """Taken by a sweep after the batch: where it is raised, an event is being handled."""
    cdef LaneState* lane = <LaneState*>owner
    lane.alarm |= alarm
    lane.swept_ms = 0


cdef void _keep_house(LaneState* lane) noexcept nogil:
    lane.stats.drains += 1
    if lane.reactor.now_ms - lane.swept_ms >= SWEEP_MS:
        _sweep(lane)
    if lane.log != NULL and log_pending(lane.log) and (log_pending(lane.log) >= LOG_BATCH or lane.reactor.now_ms - lane.log_since_ms >= lane.log_flush_ms):
        log_flush(lane.log)
        lane.log_since_ms = lane.reactor.now_ms


cdef void _on_loop(Conn* conn, uint32_t events) noexcept nogil:
    conn.reactor.outer = 1


cdef void _wait(void* data) noexcept nogil:
    """uvloop would wait now. The lane does, on a set that holds uvloop's descriptor too: so events of ours pass through one set and no Python."""
    cdef LaneState* lane = <LaneState*>data
    cdef Reactor* reactor = &lane.reactor
    cdef int wait
    cdef bint came
    while True:
        wait = uv_wait_ms(lane.guest)
        came = reactor_turn(reactor, wait)
        _keep_house(lane)
        if reactor.outer or wait == 0 or not came:
            reactor.outer = 0
            return


cdef void _answer_alarm(LaneState* lane) noexcept with gil:
    (<Lane>lane.owner)._answer_alarm()


cdef void _release(LaneState* lane) noexcept with gil:
    (<Lane>lane.owner)._release_retired()


@cython.final
cdef class Lane:
    def __cinit__(self, Segment segment, int worker, report, ask):
        self.segment = segment
        self.worker = worker
        self.report = report
        self.ask = ask
        self.retired = []
        self.pools = {}
        self.addresses = {}
        self.state = <LaneState*>calloc(1, sizeof(LaneState))
        if self.state == NULL:
            raise MemoryError
        self.state.reactor.epfd = -1
        self.state.reactor.clockfd = -1
        if not reactor_init(&self.state.reactor):
            raise OSError(errno, os.strerror(errno))
        self.state.reactor.lane = self.state
        self.state.owner = <PyObject*>self
        self.state.stats = shm_worker(segment, worker)
        self.state.worker = worker
        self.state.reactor.slab.held = &self.state.stats.memory_bytes
        self.state.reactor.slab.held[0] = self.state.reactor.slab.own       # the reactor's clock
        self.state.reactor.slab.ask = &self.state.stats.memory_ask
        self.state.reactor.slab.most = &self.state.stats.memory_most
        self.state.reactor.slab.on_alarm = _on_alarm
        self.state.reactor.slab.owner = self.state
        self.state.tunnel_ended = exchange_tunnel_ended
        self.state.release_python = hooks_release
        self.state.resume = exchange_resume
        self.state.clients.next = &self.state.clients
        self.state.clients.prev = &self.state.clients
        if getrandom(self.state.id_state, sizeof(self.state.id_state), 0) != sizeof(self.state.id_state):
            raise OSError(errno, "no random bytes for request ids")

    def join(self, loop) -> None:
        """Serve on this loop: from now on it waits for the lane's sockets as for its own."""
        self.state.guest = uv_join(loop, _wait, self.state)
        self.state.loop = conn_new(&self.state.reactor, os.dup(uv_descriptor(self.state.guest)), CONN_LOOP, _on_loop, _no_timeout)
        if self.state.loop == NULL:
            raise MemoryError
        conn_read_on(self.state.loop)

    def leave(self) -> None:
        """The loop goes on without the lane; nothing happens if it never joined."""
        if self.state.guest != NULL:
            conn_close(self.state.loop)
            uv_leave(self.state.guest)
            self.state.guest = NULL

    def drain(self) -> None:
        """Handle what is ready, without waiting."""
        cdef int64_t stop = clock_us() + BUDGET_US
        while reactor_turn(&self.state.reactor, 0) and clock_us() < stop:
            pass
        _keep_house(self.state)

    cdef _answer_alarm(self):
        """At its bound the lane lets go of what it can; whether memory is short is for the supervisor to say. While it is, relief comes with every sweep."""
        cdef LaneState* state = self.state
        cdef uint8_t alarm = state.alarm
        state.alarm = 0
        if state.reactor.now_ms - state.relieved_ms >= SWEEP_MS:
            if alarm & ALARM_FULL:
                if not state.shedding:
                    self.report("memory-short", {"level": "error", "held": state.stats.memory_bytes, "most": state.stats.memory_most})
                self.shed(True)
                alarm |= ALARM_ASK
            elif state.shedding:
                self._relieve(False)
        if alarm & ALARM_ASK:
            self.ask()

    cdef _release_retired(self):
        cdef Snapshot snapshot
        kept = [snapshot for snapshot in self.retired if snapshot.state.users]
        if len(kept) != len(self.retired):
            self.retired = kept
            self._note_retired()
            self._collect_pools()

    cdef _note_retired(self):
        cdef Snapshot snapshot
        self.state.retired = bool(self.retired)
        self.state.reactor.python = any(step.python for snapshot in [*self.retired, self.current] for step in snapshot.steps)

    # Revisions

    def install(self, Snapshot snapshot not None) -> None:
        """New exchanges run on it; those in flight finish on theirs. Raises what building a pool can raise, before anything changed."""
        cdef SnapshotState* state = snapshot.state
        cdef int64_t head_cap = state.max_head + HEAD_ROOM
        self._link_services(snapshot)
        for i, plan in enumerate(snapshot.plans):
            state.plans[<uint32_t>i].stats = shm_route(self.segment, self.worker, plan["slot"])
        state.nowhere.stats = shm_route(self.segment, self.worker, snapshot.settings["nowhere_slot"])
        for step in snapshot.steps:
            step.attach(self.report)
            step.count_in(self.segment, self.worker)
        if self.state.reactor.slab.cap < head_cap:
            self.state.reactor.slab.cap = <uint32_t>head_cap
        if self.current is not None:
            self.retired.append(self.current)
        self.current = snapshot
        self._note_retired()
        self.state.snapshot = state
        self.state.stats.revision = snapshot.revision
        self.state.log_flush_ms = snapshot.settings["log_flush_ms"]
        self.state.hook_warn_us = snapshot.settings["hook_warn_us"]
        if self.retired:
            self._release_retired()

    cdef _link_services(self, Snapshot snapshot):
        cdef Service* service
        cdef Pool* pool
        cdef uint32_t i, j
        cdef uint64_t seed
        for i, given in enumerate(snapshot.services):
            service = &snapshot.state.services[i]
            for j, endpoint in enumerate(given["endpoints"]):
                pool = self._pool(given, endpoint)
                pool.max_idle = given["keep_alive"]
                pool.max_open = given["max_connections"]
                pool.idle_ms = given["keep_alive_ms"]
                service.pools[j] = pool
                service.picker.choices[j].state = pool.state
                service.picker.choices[j].weight = endpoint["weight"]
            getrandom(&seed, sizeof(seed), 0)
            picker_init(&service.picker, service.picker.choices, service.n_pools, given["balance"], seed | 1)

    cdef Pool* _pool(self, dict service, dict endpoint) except NULL:
        cdef Pool* pool
        cdef ClientContext context
        cdef bytes text
        key = (service["name"], endpoint["key"], endpoint["tls_key"], endpoint["proxy"])
        if key in self.pools:
            return <Pool*><uintptr_t>self.pools[key]
        pool = pool_new(&self.state.reactor)
        if pool == NULL:
            raise MemoryError
        text = endpoint["log_key"]
        pool.key_len = min(len(text), sizeof(pool.key) - 1)
        memcpy(pool.key, PyBytes_AS_STRING(text), pool.key_len)
        text = endpoint["host"].encode()[:sizeof(pool.host) - 1]
        pool.host_len = len(text)
        memcpy(pool.host, PyBytes_AS_STRING(text), len(text))
        text = endpoint["tls_name"].encode()[:sizeof(pool.tls_name) - 1]
        memcpy(pool.tls_name, PyBytes_AS_STRING(text), len(text))
        context = endpoint["tls"]
        if context is not None:
            pool.tls = context.ctx
            pool.tls_owner = <PyObject*>context
            Py_INCREF(context)
        pool.proxy_out = endpoint["proxy"]
        pool.state = shm_endpoint(self.segment, endpoint["slot"])
        pool.share = shm_share(self.segment, self.worker, endpoint["slot"])
        pool.next = self.state.pools
        self.state.pools = pool
        self.pools[key] = <uintptr_t>pool
        self._set_addresses(pool, endpoint["addresses"] or self.addresses.get(endpoint["key"], []))
        return pool

    cdef _set_addresses(self, Pool* pool, addresses):
        cdef sockaddr_storage* room
        cdef uint32_t n = 0
        cdef bytes text
        for host, port in addresses[:16]:
            room = &pool.addresses[n]
            memset(room, 0, sizeof(sockaddr_storage))
            text = host.encode()
            if port < 0:
                (<sockaddr_un*>room).sun_family = AF_UNIX
                memcpy((<sockaddr_un*>room).sun_path, PyBytes_AS_STRING(text), min(len(text), 107))
                pool.address_len[n] = sizeof(sockaddr_un)
            elif inet_pton(AF_INET, text, &(<sockaddr_in*>room).sin_addr) == 1:
                (<sockaddr_in*>room).sin_family = AF_INET
                (<sockaddr_in*>room).sin_port = htons(port)
                pool.address_len[n] = sizeof(sockaddr_in)
            elif inet_pton(AF_INET6, text, &(<sockaddr_in6*>room).sin6_addr) == 1:
                (<sockaddr_in6*>room).sin6_family = AF_INET6
                (<sockaddr_in6*>room).sin6_port = htons(port)
                pool.address_len[n] = sizeof(sockaddr_in6)
            else:
                continue
            n += 1
        pool.n_addresses = n

    def set_addresses(self, endpoint: bytes, addresses: list) -> None:
        """What a named endpoint resolves to now. Open connections are kept; idle ones to addresses that are gone age out."""
        name = endpoint.decode()
        self.addresses[name] = addresses
        for key, pool in self.pools.items():
            if key[1] == name:
                self._set_addresses(<Pool*><uintptr_t>pool, addresses)

    cdef _collect_pools(self):
        """Pools that no living snapshot names lose their idle connections, and their memory once nothing is open."""
        cdef Pool** link
        cdef Pool* pool
        cdef Snapshot snapshot
        live = {(service["name"], endpoint["key"], endpoint["tls_key"], endpoint["proxy"])
                for snapshot in [*self.retired, self.current] for service in snapshot.services for endpoint in service["endpoints"]}
        for key in [key for key in self.pools if key not in live]:
            pool = <Pool*><uintptr_t>self.pools[key]
            pool_clear(pool)
            if pool.n_open:
                continue
            del self.pools[key]
            link = &self.state.pools
            while link[0] != pool:
                link = &link[0].next
            link[0] = pool.next
            Py_XDECREF(pool.tls_owner)
            pool_free(pool)

    # Listeners

    def listen(self, fd: int, listener: int) -> None:
        """Accept on a bound, listening, non-blocking socket; `listener` indexes the snapshot's listeners. Its connections keep what it is now."""
        cdef Listener* room = <Listener*>calloc(1, sizeof(Listener))
        if room == NULL:
            raise MemoryError
        self._forget_listeners()
        room.fd = fd
        room.index = listener
        self._describe(room, self.current.listeners[listener])
        # The supervisor's descriptor stays its own: closing ours must not close the socket's last copy here.
        room.conn = conn_new(&self.state.reactor, os.dup(fd), CONN_LISTENER, _on_accept, _no_timeout)
        if room.conn == NULL:
            free(room)
            raise MemoryError
        room.conn.owner = room
        room.next = self.state.listeners
        self.state.listeners = room
        conn_read_on(room.conn)

    cdef _forget_listeners(self):
        """Those that no longer accept, once their last connection is gone."""
        cdef Listener** link = &self.state.listeners
        cdef Listener* room
        while link[0] != NULL:
            room = link[0]
            if room.closed and room.n_conns == 0:
                link[0] = room.next
                Py_XDECREF(room.tls_owner)
                free(room)
            else:
                link = &room.next

    cdef _describe(self, Listener* room, dict given):
        cdef ServerContext context = given["tls"]
        room.proxy_in = given["proxy_protocol"]
        room.max_conns = given["max_connections"]
        room.is_unix = given["unix"]
        if context is not None:
            Py_INCREF(context)
            room.tls = context.ctx
            room.tls_owner = <PyObject*>context

    def unlisten(self, fd: int) -> None:
        cdef Listener* room = self.state.listeners
        while room != NULL:
            if room.fd == fd and not room.closed:
                room.closed = 1
                conn_close(room.conn)
            room = room.next

    def begin_drain(self) -> None:
        """Stop accepting, close idle connections; the rest close after their answer."""
        cdef Listener* room = self.state.listeners
        cdef Conn* conn = self.state.clients.next
        cdef Conn* following
        self.state.draining = 1
        while room != NULL:
            if not room.closed:
                room.closed = 1
                conn_close(room.conn)
            room = room.next
        while conn != &self.state.clients:
            following = conn.next
            if conn.state == C_IDLE and conn.exchange == NULL and conn.out == NULL and conn.inbuf == NULL and conn.served:
                client_close(conn)
            conn = following

    def active(self) -> int:
        """Exchanges and tunnels still open, and connections whose first request has not come yet: their client may be sending it."""
        cdef Conn* conn = self.state.clients.next
        cdef uint32_t fresh = 0
        while conn != &self.state.clients:
            fresh += conn.exchange == NULL and conn.served == 0
            conn = conn.next
        return self.state.n_exchanges + fresh

    def shed(self, on: bool) -> None:
        """Near the memory limit: new requests get 503 overloaded, idle and half-read connections close, free memory goes back."""
        self.state.stats.sheds += on and not self.state.shedding
        self.state.shedding = on
        self.state.stats.shedding = on
        if on:
            self._relieve(True)

    cdef _relieve(self, bint at_once):
        """Free memory goes back, and heads that were half-read at the last relief already; `at_once`: all of them, and idle connections."""
        cdef Conn* conn = self.state.clients.next
        cdef Conn* following
        cdef int64_t since_us = self.state.relieved_ms * 1000
        while conn != &self.state.clients:
            following = conn.next
            if conn.state == C_HEAD and conn.exchange != NULL:
                if at_once or (<Exchange*>conn.exchange).started_us < since_us:
                    exchange_abort(<Exchange*>conn.exchange, BY_GATEWAY, R_OVERLOADED)
            elif at_once and conn.exchange == NULL and conn.out == NULL:
                client_close(conn)
            conn = following
        self.state.relieved_ms = self.state.reactor.now_ms
        exchange_free_spares(self.state)
        slab_clear(&self.state.reactor.slab)
        malloc_trim(0)

    def abort(self) -> None:
        """Close everything that is open."""
        cdef Conn* conn
        if self.state == NULL:
            return
        while self.state.clients.next != &self.state.clients:
            conn = self.state.clients.next
            if conn.exchange != NULL:
                exchange_abort(<Exchange*>conn.exchange, BY_GATEWAY, R_DRAINING)
            else:
                client_close(conn)

    def reopen_log(self, fd: int) -> None:
        """Write the access log to this descriptor, which becomes the lane's. Lines already taken go to the old one, which is closed."""
        cdef int former
        if self.state.log != NULL:
            former = self.state.log.fd
            log_set_fd(self.state.log, fd)
            os.close(former)
            return
        self.state.log = log_new(fd, max(self.current.settings["log_buffer"], LOG_MIN))
        if self.state.log == NULL:
            raise MemoryError
        log_count_into(self.state.log, &self.state.stats.log_lines, &self.state.stats.log_dropped)

    def flush_log(self) -> int:
        """Errno that keeps lines back, 0 when all are written."""
        return log_flush(self.state.log) if self.state.log != NULL else 0

    def stats(self) -> dict:
        """What is open now."""
        return {"connections": self.state.n_clients, "exchanges": self.state.n_exchanges, "buffers": self.state.reactor.slab.n_taken,
                "descriptors": self.state.reactor.n_conns, "pools": {key[:2]: self._pool_counts(pool) for key, pool in self.pools.items()}}

    def _pool_counts(self, pool: int) -> tuple:
        return (<Pool*><uintptr_t>pool).n_open, (<Pool*><uintptr_t>pool).n_idle

    def __repr__(self) -> str:
        return f"<Lane {self.worker}: {self.state.n_clients} clients, {self.state.n_exchanges} exchanges, revision {self.current.revision if self.current else None}>"

    def close(self) -> None:
        """Give everything back. The lane cannot be used again."""
        cdef Listener* room
        cdef Pool* pool
        if self.closed:
            return
        self.closed = True
        self.abort()
        self.leave()
        while self.state.listeners != NULL:
            room = self.state.listeners
            self.state.listeners = room.next
            if not room.closed:
                conn_close(room.conn)
            Py_XDECREF(room.tls_owner)
            free(room)
        while self.state.pools != NULL:
            pool = self.state.pools
            self.state.pools = pool.next
            Py_XDECREF(pool.tls_owner)
            pool_free(pool)
        self.pools = {}
        exchange_free_spares(self.state)
        if self.state.log != NULL:
            log_flush(self.state.log)
            os.close(self.state.log.fd)
            log_free(self.state.log)
            self.state.log = NULL
        reactor_free(&self.state.reactor)

    def __dealloc__(self):
        if self.state != NULL:
            free(self.state)
