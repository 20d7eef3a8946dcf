"""TLS on non-blocking sockets: OpenSSL driven directly, no GIL, no exception, at most one recv(2) per wake-up that is not bulk.

Life times. A context object (ServerContext, ClientContext) holds one reference to its SSL_CTX; every connection made from it holds another
(OpenSSL's own count), and whatever the SSL_CTX needs (name table, ticket keys, ALPN list) is freed with the last of them. So a hot reload
is: build a new context, hand its `ctx` to new connections, drop the old Python object; connections in flight finish on the old one.

Threads. A context may be used by many threads for connections, except that ServerContext.set_ticket_keys must run on the thread that drives them.
"""
from libc.stdint cimport uint8_t


cdef enum:                      # results; bytes moved are > 0
    TLS_OK = 0
    TLS_WANT_READ = -1          # wait for EPOLLIN, then call the same function again
    TLS_WANT_WRITE = -2         # wait for EPOLLOUT, then call the same function again
    TLS_EOF = -3                # the peer said close_notify: a clean end of its bytes; sending still works
    TLS_ERROR = -4              # fatal, truncation (FIN without close_notify) included; only tls_failure, tls_error_text and tls_free make sense now


cdef enum:                      # tls_failure: what kind of TLS_ERROR it was (RFC 9209 section 2.3 error types)
    TLS_FAIL_NONE = 0
    TLS_FAIL_CLOSED = 1         # the peer closed the socket without close_notify, or in the handshake
    TLS_FAIL_SYSTEM = 2         # errno of recv or send (reset, time-out)
    TLS_FAIL_ALERT = 3          # the peer sent a fatal alert: tls_alert_received
    TLS_FAIL_CERTIFICATE = 4    # its certificate failed verification or was missing: tls_certificate_error
    TLS_FAIL_PROTOCOL = 5       # anything else: tls_protocol_error
    TLS_FAIL_HTTP = 6           # the client speaks HTTP without TLS; nothing was sent to it


cdef struct TlsInfo:            # filled by tls_info; every array ends with NUL and is "" where there is nothing
    char protocol[16]           # TLSv1.2, TLSv1.3
    char cipher[64]             # OpenSSL's name
    char alpn[32]               # protocol agreed on
    char name[256]              # SNI name as sent by the client, in lower case; on an origin connection the name asked for
    uint8_t resumed             # 1: from a session ticket, no certificate was exchanged this time
    uint8_t verified            # 1: the peer showed a certificate and it passed; the fields below are set only then
    uint8_t truncated           # 1: subject was too long (then it is "") or some SAN entries did not fit or held bytes outside printable ASCII (left out whole)
    char subject[512]           # RFC 2253 text, UTF-8 bytes escaped
    char sans[1024]             # one entry a line: DNS:..., IP:..., email:..., URI:...
    char fingerprint[65]        # SHA-256 of the DER, lower-case hex
    char serial[65]             # upper-case hex


cdef class ServerContext:
    cdef void* ctx              # owned: the SSL_CTX of the first certificate, which owns the name table and through it the other SSL_CTXs
    cdef readonly list names    # str: every name served, in the order of the certificates


cdef class ClientContext:
    cdef void* ctx              # owned: SSL_CTX
    cdef readonly bint verify   # chain and name are verified


# A connection. `fd` is borrowed: the caller closes it, after tls_free. NULL: out of memory.
cdef void* tls_accept(void* ctx, int fd) noexcept nogil
# `name`: host name or IP address (no brackets) for SNI and verification, copied. NULL also when a context that verifies gets no name.
cdef void* tls_connect(void* ctx, int fd, const char* name) noexcept nogil
# TLS_OK, TLS_WANT_*, TLS_ERROR. Optional: recv and send finish an open handshake by themselves.
cdef int tls_handshake(void* ssl) noexcept nogil
# > 0 bytes, TLS_WANT_*, TLS_EOF, TLS_ERROR. Fills buf from as many records as are there. One recv(2) unless more than a read-ahead buffer waits:
# after fewer than n bytes, call again only if tls_pending. Under edge-triggered epoll, EPOLLRDHUP asks for another call, as on a plain socket.
cdef ssize_t tls_recv(void* ssl, char* buf, size_t n) noexcept nogil
# > 0 bytes taken, TLS_WANT_*, TLS_ERROR; n > 0. Fewer than n means that the socket is full: wait for EPOLLOUT. The next call starts with the first
# byte not taken; buffer and n may differ. While anything waits inside, at least one byte stays untaken, so the caller knows that it is not done.
cdef ssize_t tls_send(void* ssl, const char* buf, size_t n) noexcept nogil
# More can be had from tls_recv without waiting: bytes inside OpenSSL that epoll does not know of, or a socket that was not read dry.
cdef bint tls_pending(void* ssl) noexcept nogil
# Send close_notify once, if the connection can still carry it; never blocks, never waits for the peer's.
cdef void tls_shutdown(void* ssl) noexcept nogil
cdef void tls_free(void* ssl) noexcept nogil     # NULL is allowed
# TLS_FAIL_* of the failure that made a call return TLS_ERROR.
cdef int tls_failure(void* ssl) noexcept nogil
# Its reason as text for logs, NUL-terminated, cut at cap; returns the length.
cdef int tls_error_text(void* ssl, char* out, int cap) noexcept nogil
# After the handshake.
cdef void tls_info(void* ssl, TlsInfo* info) noexcept nogil
cdef const char* tls_protocol(void* ssl) noexcept nogil                       # TLSv1.2, TLSv1.3; never NULL
# Whom the peer proved to be, for logs: its subject, without one its alternative names with commas between. Length, 0 when there is no verified certificate.
cdef size_t tls_peer(void* ssl, char* out, size_t cap) noexcept nogil


cdef class Tls:                 # TlsInfo as Python sees it
    cdef readonly str protocol, cipher, alpn, name, subject, fingerprint, serial
    cdef readonly list sans
    cdef readonly bint resumed, verified, truncated

cdef Tls tls_view(void* ssl)
