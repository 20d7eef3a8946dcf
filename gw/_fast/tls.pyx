"""The kernel behind tls.pxd: connections, and the contexts as Python objects."""
cimport cython
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset, strerror, strlen

from gw._fast.openssl cimport *
from gw._fast.tls_context cimport TICKET_KEY_SIZE, TICKET_KEYS_MAX, Peer, State, client_context, context_state, dns_lower, server_context, set_ticket_keys
from gw._fast.x509 cimport x509_fingerprint, x509_name, x509_sans, x509_serial

cdef extern from "sys/socket.h" nogil:
    enum:
        MSG_NOSIGNAL
    ssize_t c_recv "recv"(int fd, void* buf, size_t n, int flags)
    ssize_t c_send "send"(int fd, const void* buf, size_t n, int flags)

cdef enum:
    RECORD = 16384          # bytes of plain text in one record (RFC 8446 section 5.1)
    READS_MAX = 16          # recv(2) calls in one call of ours: a peer that floods with records that carry nothing cannot hold the lane


cdef struct Conn:
    Peer peer               # first: callbacks see only this part
    SSL* ssl                # owned
    int fd                  # borrowed
    int reads               # recv(2) calls in this call
    uint8_t dry             # this call has read all the socket had: do not ask again
    uint8_t blocked         # SSL_READING or SSL_WRITING: the socket said EAGAIN in this call
    uint8_t eof             # recv(2) returned 0
    uint8_t more            # tls_pending
    uint8_t failed          # TLS_FAIL_*
    int code                # errno of recv or send
    unsigned long reason    # OpenSSL's error
    long verify             # X509_V_*
    char* held              # owned: the record OpenSSL could not send whole; of its bytes the caller still holds the last one
    size_t held_n
    size_t held_off


# ---- socket BIO -----------------------------------------------------------------------------------------------------------------------------
# Our own, because OpenSSL's asks the socket until EAGAIN: here a short read ends the call, which saves a system call per request, and
# because the blocking direction is then known without OpenSSL's error queue (clearing it costs 900 instructions a call).

cdef int _bio_read(BIO* bio, char* buf, size_t n, size_t* done) noexcept nogil:
    cdef Conn* conn = <Conn*>BIO_get_data(bio)
    cdef ssize_t got
    BIO_clear_retry_flags(bio)
    if conn.dry or conn.reads >= READS_MAX:
        conn.blocked = SSL_READING
        BIO_set_retry_read(bio)
        return 0
    conn.reads += 1
    while True:
        got = c_recv(conn.fd, buf, n, 0)
        if got > 0:
            conn.dry = <size_t>got < n
            done[0] = got
            return 1
        if got == 0:
            conn.eof = 1
            return 0
        if errno != EINTR:
            break
    if errno == EAGAIN:
        conn.dry = 1
        conn.blocked = SSL_READING
        BIO_set_retry_read(bio)
    else:
        conn.code = errno
    return 0


cdef int _bio_write(BIO* bio, const char* buf, size_t n, size_t* done) noexcept nogil:
    cdef Conn* conn = <Conn*>BIO_get_data(bio)
    cdef ssize_t sent
    BIO_clear_retry_flags(bio)
    while True:
        sent = c_send(conn.fd, buf, n, MSG_NOSIGNAL)
        if sent >= 0:
            done[0] = sent
            return 1
        if errno != EINTR:
            break
    if errno == EAGAIN:
        conn.blocked = SSL_WRITING
        BIO_set_retry_write(bio)
    else:
        conn.code = errno
    return 0


cdef long _bio_ctrl(BIO* bio, int command, long number, void* pointer) noexcept nogil:
    if command == BIO_CTRL_EOF:
        return (<Conn*>BIO_get_data(bio)).eof
    return command == BIO_CTRL_FLUSH


cdef BIO_METHOD* SOCKET = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, b"gw socket")
if SOCKET == NULL:
    raise MemoryError
BIO_meth_set_read_ex(SOCKET, _bio_read)
BIO_meth_set_write_ex(SOCKET, _bio_write)
BIO_meth_set_ctrl(SOCKET, _bio_ctrl)


# ---- connections ----------------------------------------------------------------------------------------------------------------------------

cdef Conn* _conn_new(SSL_CTX* ctx, int fd) noexcept nogil:
    cdef Conn* conn = <Conn*>calloc(1, sizeof(Conn))
    cdef BIO* bio
    if conn == NULL:
        return NULL
    conn.fd = fd
    conn.peer.state = context_state(ctx)
    conn.ssl = SSL_new(ctx)
    bio = BIO_new(SOCKET) if conn.ssl != NULL else NULL
    if bio == NULL:
        tls_free(conn)
        ERR_clear_error()
        return NULL
    BIO_set_data(bio, conn)
    BIO_set_init(bio, 1)
    SSL_set_bio(conn.ssl, bio, bio)
    if not SSL_set_ex_data(conn.ssl, 0, conn):
        tls_free(conn)
        return NULL
    return conn


cdef void* tls_accept(void* ctx, int fd) noexcept nogil:
    cdef Conn* conn = _conn_new(<SSL_CTX*>ctx, fd)
    if conn != NULL:
        SSL_set_accept_state(conn.ssl)
    return conn


cdef bint _expect(SSL* ssl, const char* name) noexcept nogil:
    """Set SNI and the name to verify. An IP address is verified, but never sent as SNI (RFC 6066 section 3)."""
    if name == NULL or name[0] == 0:
        return SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE
    if X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name):
        return True
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT)
    return SSL_set_tlsext_host_name(ssl, name) and SSL_set1_host(ssl, name)


cdef void* tls_connect(void* ctx, int fd, const char* name) noexcept nogil:
    cdef Conn* conn = _conn_new(<SSL_CTX*>ctx, fd)
    if conn == NULL:
        return NULL
    if not _expect(conn.ssl, name):
        tls_free(conn)
        conn = NULL
    else:
        SSL_set_connect_state(conn.ssl)
    ERR_clear_error()       # set1_ip_asc leaves an error for every name that is not an address
    return conn


cdef void tls_free(void* ssl) noexcept nogil:
    cdef Conn* conn = <Conn*>ssl
    if conn != NULL:
        SSL_free(conn.ssl)
        free(conn.held)
        free(conn)


cdef inline void _begin(Conn* conn) noexcept nogil:
    conn.dry = 0
    conn.blocked = 0
    conn.reads = 0


cdef int _stopped(Conn* conn) noexcept nogil:
    """Why OpenSSL returned without progress: TLS_WANT_*, TLS_EOF or TLS_ERROR."""
    if conn.failed:
        return TLS_ERROR
    if conn.blocked and SSL_want(conn.ssl) == conn.blocked:
        return TLS_WANT_READ if conn.blocked == SSL_READING else TLS_WANT_WRITE
    if conn.peer.closed and conn.peer.shaken:
        return TLS_EOF
    return _fail(conn)


cdef int _fail(Conn* conn) noexcept nogil:
    cdef int reason
    conn.reason = ERR_peek_last_error()
    ERR_clear_error()
    reason = ERR_GET_REASON(conn.reason) if ERR_GET_LIB(conn.reason) == ERR_LIB_SSL else 0
    if reason == SSL_R_CERTIFICATE_VERIFY_FAILED or reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        conn.failed = TLS_FAIL_CERTIFICATE
        conn.verify = SSL_get_verify_result(conn.ssl)
    elif reason == SSL_R_HTTP_REQUEST:
        conn.failed = TLS_FAIL_HTTP
    elif conn.peer.alert:
        conn.failed = TLS_FAIL_ALERT
    elif conn.eof or conn.peer.closed:
        conn.failed = TLS_FAIL_CLOSED
    elif conn.code:
        conn.failed = TLS_FAIL_SYSTEM
    else:
        conn.failed = TLS_FAIL_PROTOCOL
    return TLS_ERROR


cdef int tls_handshake(void* ssl) noexcept nogil:
    cdef Conn* conn = <Conn*>ssl
    cdef int stopped
    _begin(conn)
    if SSL_do_handshake(conn.ssl) == 1:
        conn.more = SSL_has_pending(conn.ssl) or not conn.dry
        return TLS_OK
    stopped = _stopped(conn)
    conn.more = not conn.dry
    return stopped


cdef ssize_t tls_recv(void* ssl, char* buf, size_t n) noexcept nogil:
    cdef Conn* conn = <Conn*>ssl
    cdef size_t got = 0, step = 0
    cdef int stopped
    _begin(conn)
    while SSL_read_ex(conn.ssl, buf + got, n - got, &step) > 0:
        got += step
        if got == n:
            conn.more = not conn.dry or SSL_has_pending(conn.ssl)
            return got
        if not SSL_has_pending(conn.ssl):
            conn.more = not conn.dry
            return got
    stopped = _stopped(conn)
    # A call that brought bytes cannot also say how the stream ended: the caller is asked to call again for that.
    conn.more = not conn.dry or (got > 0 and stopped != TLS_WANT_READ)
    return <ssize_t>got if got > 0 else stopped


cdef bint tls_pending(void* ssl) noexcept nogil:
    return (<Conn*>ssl).more


cdef bint _hold(Conn* conn, const char* buf, size_t n) noexcept nogil:
    conn.held = <char*>malloc(n)
    if conn.held == NULL:
        return False
    memcpy(conn.held, buf, n)
    conn.held_n = n
    conn.held_off = 0
    return True


cdef bint _send_held(Conn* conn) noexcept nogil:
    cdef size_t step = 0
    while conn.held_off < conn.held_n:
        if SSL_write_ex(conn.ssl, conn.held + conn.held_off, conn.held_n - conn.held_off, &step) <= 0:
            return False
        conn.held_off += step
    free(conn.held)
    conn.held = NULL
    return True


cdef ssize_t tls_send(void* ssl, const char* buf, size_t n) noexcept nogil:
    cdef Conn* conn = <Conn*>ssl
    cdef size_t sent = 0, step = 0, part
    cdef int stopped
    _begin(conn)
    if conn.held != NULL:
        if not _send_held(conn):
            stopped = _stopped(conn)
            return TLS_ERROR if stopped == TLS_EOF else stopped
        sent = 1
    while sent < n:
        part = n - sent if n - sent < RECORD else RECORD
        if SSL_write_ex(conn.ssl, buf + sent, part, &step) <= 0:
            return _send_stopped(conn, buf, sent, part)
        sent += step
    return sent


cdef ssize_t _send_stopped(Conn* conn, const char* buf, size_t sent, size_t part) noexcept nogil:
    """OpenSSL insists on the same bytes when it is asked again, so they are kept here, and the caller is free to bring others."""
    cdef int stopped = _stopped(conn)
    if stopped == TLS_WANT_WRITE:
        if not _hold(conn, buf + sent, part):
            return TLS_ERROR
        sent += part - 1
    elif stopped == TLS_EOF:
        stopped = _fail(conn)
    return <ssize_t>sent if sent > 0 else stopped


cdef void tls_shutdown(void* ssl) noexcept nogil:
    cdef Conn* conn = <Conn*>ssl
    if conn.failed or not SSL_is_init_finished(conn.ssl) or SSL_get_shutdown(conn.ssl) & SSL_SENT_SHUTDOWN:
        return
    if SSL_shutdown(conn.ssl) < 0:
        ERR_clear_error()


cdef int tls_failure(void* ssl) noexcept nogil:
    return (<Conn*>ssl).failed


cdef int tls_error_text(void* ssl, char* out, int cap) noexcept nogil:
    cdef Conn* conn = <Conn*>ssl
    cdef const char* kind = ""
    cdef const char* text = ERR_reason_error_string(conn.reason)
    cdef int n
    if conn.failed == TLS_FAIL_NONE:
        text = "no error"
    elif conn.failed == TLS_FAIL_CERTIFICATE:
        kind = "certificate refused: "
        if conn.verify != X509_V_OK:
            text = X509_verify_cert_error_string(conn.verify)
    elif conn.failed == TLS_FAIL_ALERT:
        kind = "alert received: "
        text = SSL_alert_desc_string_long(conn.peer.alert)
    elif conn.failed == TLS_FAIL_CLOSED:
        text = "closed without close_notify" if conn.peer.shaken else "closed during the handshake"
    elif conn.failed == TLS_FAIL_SYSTEM:
        text = strerror(conn.code)
    elif text == NULL:
        text = "protocol error"
    n = snprintf(out, cap, "%s%s", kind, text)
    return n if n < cap else cap - 1


# ---- what is known after the handshake ------------------------------------------------------------------------------------------------------

cdef void _copy(char* out, size_t cap, const char* text) noexcept nogil:
    if text != NULL:
        snprintf(out, cap, "%s", text)


cdef bint _proved(Conn* conn, X509* peer) noexcept nogil:
    return peer != NULL and SSL_get_verify_mode(conn.ssl) & SSL_VERIFY_PEER != 0 and SSL_get_verify_result(conn.ssl) == X509_V_OK


cdef const char* tls_protocol(void* ssl) noexcept nogil:
    return SSL_get_version((<Conn*>ssl).ssl)


cdef size_t tls_peer(void* ssl, char* out, size_t cap) noexcept nogil:
    cdef Conn* conn = <Conn*>ssl
    cdef X509* peer = SSL_get0_peer_certificate(conn.ssl)
    cdef size_t n, i
    if not _proved(conn, peer):
        return 0
    x509_name(X509_get_subject_name(peer), out, cap)
    if out[0] == 0:
        x509_sans(peer, out, cap)
    n = strlen(out)
    for i in range(n):
        if out[i] == c"\n":
            out[i] = c","
    return n


cdef void tls_info(void* ssl, TlsInfo* info) noexcept nogil:
    cdef Conn* conn = <Conn*>ssl
    cdef const unsigned char* alpn = NULL
    cdef unsigned int alpn_n = 0
    cdef const char* name = SSL_get_servername(conn.ssl, TLSEXT_NAMETYPE_host_name)
    cdef X509* peer = SSL_get0_peer_certificate(conn.ssl)
    memset(info, 0, sizeof(TlsInfo))
    _copy(info.protocol, sizeof(info.protocol), SSL_get_version(conn.ssl))
    _copy(info.cipher, sizeof(info.cipher), SSL_CIPHER_get_name(SSL_get_current_cipher(conn.ssl)))
    if name != NULL:
        dns_lower(info.name, name)
    SSL_get0_alpn_selected(conn.ssl, &alpn, &alpn_n)
    if 0 < alpn_n < sizeof(info.alpn):      # without one the pointer is NULL, which memcpy must not see
        memcpy(info.alpn, alpn, alpn_n)
    info.resumed = SSL_session_reused(conn.ssl)
    if _proved(conn, peer):
        info.verified = 1
        # A name that does not fit is left empty: half of it could be somebody else's.
        info.truncated = not x509_name(X509_get_subject_name(peer), info.subject, sizeof(info.subject))
        if not x509_sans(peer, info.sans, sizeof(info.sans)):
            info.truncated = 1
        x509_fingerprint(peer, info.fingerprint)
        x509_serial(peer, info.serial, sizeof(info.serial))


# ---- contexts ----------------------------------------------------------------------------------------------------------------------------------

@cython.final
cdef class ServerContext:
    def __cinit__(self, certificates, *, min_version="1.2", ciphers=None, client_ca=None, client_mode="require", alpn=("http/1.1",), ticket_keys=None) -> None:
        self.names = []
        self.ctx = server_context(list(certificates), self.names, min_version, ciphers, client_ca, client_mode, alpn, ticket_keys)

    def __dealloc__(self) -> None:
        SSL_CTX_free(<SSL_CTX*>self.ctx)

    def __repr__(self) -> str:
        return f"<ServerContext {', '.join(self.names) or 'no names'}>"

    def set_ticket_keys(self, keys: list) -> None:
        cdef State* state = context_state(<SSL_CTX*>self.ctx)
        if not state.n_keys:
            raise ValueError("ticket keys: this context was built without tickets")
        set_ticket_keys(state, keys)


@cython.final
cdef class ClientContext:
    def __cinit__(self, *, verify=True, ca=None, certificate=None, alpn=("http/1.1",), min_version="1.2") -> None:
        self.ctx = client_context(verify, ca, certificate, alpn, min_version)
        self.verify = verify

    def __dealloc__(self) -> None:
        SSL_CTX_free(<SSL_CTX*>self.ctx)

    def __repr__(self) -> str:
        return f"<ClientContext {'verifies' if self.verify else 'does not verify'}>"


# ---- for Python callers ------------------------------------------------------------------------------------------------------------------------

OK = TLS_OK
WANT_READ = TLS_WANT_READ
WANT_WRITE = TLS_WANT_WRITE
EOF = TLS_EOF
ERROR = TLS_ERROR
FAILURES = {
    TLS_FAIL_NONE: "none",
    TLS_FAIL_CLOSED: "closed",
    TLS_FAIL_SYSTEM: "system",
    TLS_FAIL_ALERT: "alert",
    TLS_FAIL_CERTIFICATE: "certificate",
    TLS_FAIL_PROTOCOL: "protocol",
    TLS_FAIL_HTTP: "http",
}
KEYS_MAX = TICKET_KEYS_MAX
KEY_SIZE = TICKET_KEY_SIZE


@cython.final
cdef class Tls:
    def __init__(self):
        raise TypeError("a Tls is made from a connection")

    def __repr__(self) -> str:
        return f"<Tls {self.protocol} {self.cipher} {self.name or 'no name'}, client {self.subject or ', '.join(self.sans) if self.verified else 'unknown'}>"


cdef Tls tls_view(void* ssl):
    cdef TlsInfo info
    cdef Tls view = Tls.__new__(Tls)
    tls_info(ssl, &info)
    view.protocol = (<bytes>info.protocol).decode()
    view.cipher = (<bytes>info.cipher).decode()
    view.alpn = (<bytes>info.alpn).decode()
    view.name = (<bytes>info.name).decode("latin-1")
    view.resumed = info.resumed
    view.verified = info.verified
    view.truncated = info.truncated
    view.subject = (<bytes>info.subject).decode()
    view.sans = (<bytes>info.sans).decode().splitlines()
    view.fingerprint = (<bytes>info.fingerprint).decode()
    view.serial = (<bytes>info.serial).decode()
    return view


@cython.final
cdef class TlsSocket:
    cdef void* ssl          # owned

    def __cinit__(self, fd: int, context: ServerContext | ClientContext, name: str = "") -> None:
        cdef bytes text = name.encode("ascii")
        if isinstance(context, ServerContext):
            self.ssl = tls_accept((<ServerContext>context).ctx, fd)
        else:
            self.ssl = tls_connect((<ClientContext?>context).ctx, fd, text)
        if self.ssl == NULL:
            raise ValueError("no name to verify the peer by")

    def __dealloc__(self) -> None:
        tls_free(self.ssl)

    def __repr__(self) -> str:
        return f"<TlsSocket {self.error()}>"

    def handshake(self) -> int:
        return tls_handshake(self.ssl)

    def recv(self, n: int) -> bytes | int:
        cdef size_t size = n
        cdef char* buf = <char*>malloc(size)
        if buf == NULL:
            raise MemoryError
        cdef ssize_t got = tls_recv(self.ssl, buf, size)
        try:
            return buf[:got] if got > 0 else got
        finally:
            free(buf)

    def send(self, data: bytes) -> int:
        return tls_send(self.ssl, data, len(data))

    def pending(self) -> bool:
        return tls_pending(self.ssl)

    def shutdown(self) -> None:
        tls_shutdown(self.ssl)

    def failure(self) -> str:
        return FAILURES[tls_failure(self.ssl)]

    def error(self) -> str:
        cdef char text[256]
        cdef int n = tls_error_text(self.ssl, text, sizeof(text))
        return text[:n].decode("utf-8", "replace")

    def info(self) -> Tls:
        return tls_view(self.ssl)
