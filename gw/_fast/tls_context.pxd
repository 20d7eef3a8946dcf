"""What a TLS context is made of: certificates by SNI, ALPN, tickets, client certificates. For tls.pyx alone; everyone else uses tls.pxd."""
from libc.stdint cimport uint8_t

from gw._fast.openssl cimport SSL_CTX


cdef enum:
    NAME_MAX = 256              # a DNS name has at most 253 bytes; OpenSSL refuses longer SNI names than 255
    ALPN_MAX = 64               # bytes of the ALPN list in wire form
    TICKET_KEYS_MAX = 8         # keys a context can hold
    TICKET_KEY_SIZE = 80        # bytes of one key


cdef struct TicketKey:
    unsigned char name[16]      # public: travels in the ticket
    unsigned char hmac[32]      # HMAC-SHA-256
    unsigned char aes[32]       # AES-256-CBC


cdef struct Served:             # one entry of the name table
    const char* name            # lower case, NUL-terminated, points into State.text; "*.example.com" for a wildcard
    SSL_CTX* ctx                # borrowed from State.chosen, or the default


cdef struct State:              # what a server SSL_CTX needs; owned by the default SSL_CTX (ex_data) and freed with it
    SSL_CTX** chosen            # owned references: the contexts of other certificates than the default's
    int n_chosen
    Served* served              # sorted by strcmp
    int n_served
    char* text                  # owned
    unsigned char alpn[ALPN_MAX]            # wire form, in order of preference
    unsigned int alpn_n                     # 0: ALPN is not answered
    TicketKey keys[TICKET_KEYS_MAX]         # the first one encrypts
    int n_keys                              # 0: no tickets


cdef struct Peer:               # ex_data 0 of every SSL: what the callbacks find and leave
    State* state                # borrowed from the SSL_CTX the SSL was made from, which the SSL keeps alive; NULL on an origin connection
    int alert                   # fatal alert received
    uint8_t closed              # close_notify received
    uint8_t shaken              # the handshake was completed; OpenSSL forgets it after an error


cdef State* context_state(SSL_CTX* ctx) noexcept nogil      # NULL for a client context
cdef void dns_lower(char* out, const char* name) noexcept nogil     # copy without a trailing dot; out has NAME_MAX bytes
# Both return an owned reference, or raise ValueError with one sentence for the operator.
cdef SSL_CTX* server_context(list certificates, list names, str min_version, str ciphers, object client_ca, str client_mode, object alpn, object ticket_keys) except NULL
cdef SSL_CTX* client_context(bint verify, object ca, object certificate, object alpn, str min_version) except NULL
cdef int set_ticket_keys(State* state, list keys) except -1
