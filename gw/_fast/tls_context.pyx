"""Contexts: certificates by SNI, ALPN, tickets, client certificates."""
import hashlib
import os

cimport cython
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp, memcpy, memset, strcmp, strlen

from gw._fast.openssl cimport *
from gw._fast.x509 cimport Chain, Key, dns_names, openssl_reason, x509_fingerprint

# Mozilla intermediate (guideline 5.7) without the DHE suites, whose key exchange lets clients burn our CPU; TLS 1.3 suites are OpenSSL's own three.
cdef bytes CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
cdef bytes GROUPS = b"X25519:P-256:P-384"
cdef dict VERSIONS = {"1.2": TLS1_2_VERSION, "1.3": TLS1_3_VERSION}
CLIENT_MODES = ("require", "optional")


cdef void dns_lower(char* out, const char* name) noexcept nogil:
    """Copy in lower case, without a trailing dot; out has NAME_MAX bytes."""
    cdef size_t i = 0
    while name[i] and i < NAME_MAX - 1:
        out[i] = name[i] + 32 if 65 <= name[i] <= 90 else name[i]
        i += 1
    if i > 0 and out[i - 1] == 46:
        i -= 1
    out[i] = 0


cdef SSL_CTX* _served(const State* state, const char* name) noexcept nogil:
    cdef int low = 0, high = state.n_served, middle, order
    while low < high:
        middle = (low + high) // 2
        order = strcmp(name, state.served[middle].name)
        if order == 0:
            return state.served[middle].ctx
        if order < 0:
            high = middle
        else:
            low = middle + 1
    return NULL


cdef int _on_name(SSL* ssl, int* alert, void* arg) noexcept nogil:
    """Choose the certificate: exact name, then the wildcard one label up (RFC 6125 section 6.4.3), else the default stays."""
    cdef const char* sent = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)
    cdef State* state = <State*>arg
    cdef char name[NAME_MAX]
    cdef char* dot
    cdef SSL_CTX* ctx
    if sent == NULL:
        return SSL_TLSEXT_ERR_NOACK
    dns_lower(name, sent)
    ctx = _served(state, name)
    dot = <char*>memchr(name, 46, strlen(name))
    if ctx == NULL and dot != NULL and dot > name:
        (dot - 1)[0] = 42
        ctx = _served(state, dot - 1)
    if ctx != NULL:
        SSL_set_SSL_CTX(ssl, ctx)
    return SSL_TLSEXT_ERR_OK


cdef int _on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_n, const unsigned char* offered, unsigned int n, void* arg) noexcept nogil:
    """Our preference decides; nothing in common ends the handshake (RFC 7301 section 3.2)."""
    cdef State* state = <State*>arg
    if SSL_select_next_proto(<unsigned char**>out, out_n, state.alpn, state.alpn_n, offered, n) == OPENSSL_NPN_NEGOTIATED:
        return SSL_TLSEXT_ERR_OK
    return SSL_TLSEXT_ERR_ALERT_FATAL


cdef void _on_info(const SSL* ssl, int where, int value) noexcept nogil:
    cdef Peer* peer = <Peer*>SSL_get_ex_data(ssl, 0)
    if where == SSL_CB_HANDSHAKE_DONE:
        peer.shaken = 1
    elif where == SSL_CB_READ_ALERT:
        if value & 0xFF == 0:
            peer.closed = 1
        elif value >> 8 == 2:
            peer.alert = value & 0xFF


cdef bint _ticket_mac(EVP_MAC_CTX* mac, TicketKey* key) noexcept nogil:
    cdef OSSL_PARAM params[3]
    params[0] = OSSL_PARAM_construct_octet_string("key", key.hmac, sizeof(key.hmac))
    params[1] = OSSL_PARAM_construct_utf8_string("digest", "SHA256", 0)
    params[2] = OSSL_PARAM_construct_end()
    return EVP_MAC_CTX_set_params(mac, params)


cdef int _on_ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int encrypt) noexcept nogil:
    """OpenSSL's contract: -1 error, 0 unknown key, 1 use, 2 use and give the client a new ticket."""
    cdef State* state = (<Peer*>SSL_get_ex_data(ssl, 0)).state
    cdef int i
    if encrypt:
        memcpy(name, state.keys[0].name, 16)
        if RAND_bytes(iv, 16) <= 0 or not EVP_EncryptInit_ex(cipher, TICKET_CIPHER, NULL, state.keys[0].aes, iv) or not _ticket_mac(mac, &state.keys[0]):
            return -1
        return 1
    for i in range(state.n_keys):
        if memcmp(name, state.keys[i].name, 16) == 0:
            if not EVP_DecryptInit_ex(cipher, TICKET_CIPHER, NULL, state.keys[i].aes, iv) or not _ticket_mac(mac, &state.keys[i]):
                return -1
            return 1 if i == 0 else 2
    return 0


cdef int _on_ticket(SSL* ssl, SSL_SESSION* session, const unsigned char* name, size_t n, int status, void* arg) noexcept nogil:
    """A ticket must not outlive the client certificate it stands for."""
    cdef X509* peer
    if status != SSL_TICKET_SUCCESS and status != SSL_TICKET_SUCCESS_RENEW:
        return SSL_TICKET_RETURN_IGNORE_RENEW
    peer = SSL_SESSION_get0_peer(session)
    if peer != NULL and X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0:
        return SSL_TICKET_RETURN_IGNORE_RENEW
    return SSL_TICKET_RETURN_USE if status == SSL_TICKET_SUCCESS else SSL_TICKET_RETURN_USE_RENEW


cdef void _state_free(void* parent, void* data, CRYPTO_EX_DATA* ad, int index, long number, void* pointer) noexcept nogil:
    cdef State* state = <State*>data
    cdef int i
    if state == NULL:
        return
    for i in range(state.n_chosen):
        SSL_CTX_free(state.chosen[i])
    free(state.chosen)
    free(state.served)
    free(state.text)
    memset(state.keys, 0, sizeof(state.keys))
    free(state)


cdef State* context_state(SSL_CTX* ctx) noexcept nogil:
    return <State*>SSL_CTX_get_ex_data(ctx, STATE_INDEX)


cdef int STATE_INDEX = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, _state_free)
cdef EVP_CIPHER* TICKET_CIPHER = EVP_CIPHER_fetch(NULL, b"AES-256-CBC", NULL)
if STATE_INDEX < 0 or TICKET_CIPHER == NULL:
    raise RuntimeError("OpenSSL offers no AES-256-CBC")


# ---- building ------------------------------------------------------------------------------------------------------------------------------

@cython.final
@cython.internal
cdef class Context:
    """An SSL_CTX while it is being built: freed when an error ends the construction."""
    cdef SSL_CTX* ctx       # owned

    def __cinit__(self, bint server, str min_version, str ciphers) -> None:
        if min_version not in VERSIONS:
            raise ValueError(f"min_version {min_version!r} is not one of {', '.join(VERSIONS)}")
        wanted = ciphers.encode() if ciphers is not None else CIPHERS
        self.ctx = SSL_CTX_new(TLS_server_method() if server else TLS_client_method())
        if self.ctx == NULL:
            raise MemoryError(openssl_reason())
        SSL_CTX_set_mode(self.ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS)
        SSL_CTX_set_options(self.ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION)
        SSL_CTX_set_read_ahead(self.ctx, 1)
        SSL_CTX_set_session_cache_mode(self.ctx, SSL_SESS_CACHE_OFF)
        SSL_CTX_set_info_callback(self.ctx, _on_info)
        if not SSL_CTX_set_min_proto_version(self.ctx, VERSIONS[min_version]) or not SSL_CTX_set1_groups_list(self.ctx, GROUPS):
            raise ValueError(f"OpenSSL refuses TLS {min_version}: {openssl_reason()}")
        if not SSL_CTX_set_cipher_list(self.ctx, <const char*>wanted):
            ERR_clear_error()
            raise ValueError(f"ciphers {wanted.decode()!r}: OpenSSL knows none of them")

    def __dealloc__(self) -> None:
        SSL_CTX_free(self.ctx)

    cdef int use(self, Chain chain, Key key) except -1:
        cdef int i
        if not X509_check_private_key(chain.certs[0], key.key):
            ERR_clear_error()
            raise ValueError(f"{key.label}: the private key does not belong to the first certificate in {chain.label}")
        if not SSL_CTX_use_certificate(self.ctx, chain.certs[0]) or not SSL_CTX_use_PrivateKey(self.ctx, key.key):
            raise ValueError(f"{chain.label}: OpenSSL refuses the certificate: {openssl_reason()}")
        for i in range(1, chain.n):
            if not SSL_CTX_add1_chain_cert(self.ctx, chain.certs[i]):
                raise ValueError(f"{chain.label}: OpenSSL refuses certificate {i + 1}: {openssl_reason()}")
        return 0

    cdef int trust(self, Chain authorities) except -1:
        """An authority is trusted as it stands in the file, also when it is not self-signed."""
        cdef X509_STORE* store = X509_STORE_new()
        cdef int i
        if store == NULL:
            raise MemoryError
        for i in range(authorities.n):
            X509_STORE_add_cert(store, authorities.certs[i])
        ERR_clear_error()       # an authority given twice is no fault
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN)
        SSL_CTX_set1_cert_store(self.ctx, store)
        X509_STORE_free(store)
        return 0

    cdef int ask_clients(self, Chain authorities, str mode) except -1:
        cdef int i
        self.trust(authorities)
        for i in range(authorities.n):
            if not SSL_CTX_add_client_CA(self.ctx, authorities.certs[i]):
                raise MemoryError
        SSL_CTX_set_verify(self.ctx, SSL_VERIFY_PEER | (SSL_VERIFY_FAIL_IF_NO_PEER_CERT if mode == "require" else 0), NULL)
        return 0

    cdef int serve(self, State* state, bytes session_id) except -1:
        """What every certificate's context of one listener has in common; after SNI OpenSSL reads some of it from the chosen one."""
        SSL_CTX_set_session_id_context(self.ctx, session_id, <unsigned int>len(session_id))
        if state.alpn_n:
            SSL_CTX_set_alpn_select_cb(self.ctx, _on_alpn, state)
        if state.n_keys:
            SSL_CTX_set_num_tickets(self.ctx, 1)
            SSL_CTX_set_tlsext_ticket_key_evp_cb(self.ctx, _on_ticket_key)
            SSL_CTX_set_session_ticket_cb(self.ctx, NULL, _on_ticket, NULL)
        else:
            SSL_CTX_set_num_tickets(self.ctx, 0)
            SSL_CTX_set_options(self.ctx, SSL_OP_NO_TICKET)
        return 0


@cython.final
@cython.internal
cdef class SystemStore:
    """The system's authorities, read once and again when they change: parsing the bundle takes 0.1 s, too long for each context of each reload."""
    cdef X509_STORE* store      # owned
    cdef object stamp           # modification times of what `store` was read from

    cdef X509_STORE* current(self) except NULL:
        cdef X509_STORE* fresh
        file = os.environ.get((<bytes>X509_get_default_cert_file_env()).decode(), os.fsdecode(<bytes>X509_get_default_cert_file()))
        folder = os.environ.get((<bytes>X509_get_default_cert_dir_env()).decode(), os.fsdecode(<bytes>X509_get_default_cert_dir()))
        stamp = [(path, os.stat(path).st_mtime_ns if os.path.exists(path) else 0) for path in (file, *folder.split(os.pathsep))]
        if stamp == self.stamp:
            return self.store
        fresh = X509_STORE_new()
        if fresh == NULL or not X509_STORE_set_default_paths(fresh):
            X509_STORE_free(fresh)
            raise ValueError(f"the system's authorities cannot be loaded: {openssl_reason()}")
        ERR_clear_error()       # a system without a bundle file has its folder
        X509_STORE_free(self.store)
        self.store = fresh
        self.stamp = stamp
        return fresh


cdef SystemStore SYSTEM = SystemStore()


cdef bytes _alpn_wire(object alpn):
    wire = b"".join(bytes([len(name)]) + name.encode("ascii") for name in alpn)
    if len(wire) > ALPN_MAX:
        raise ValueError(f"alpn: the list takes {len(wire)} bytes, at most {ALPN_MAX} fit")
    return wire


cdef dict _groups(list chains):
    """Name to the certificates that serve it: the first one of each kind of key, as their indices."""
    cdef Chain chain
    table: dict = {}
    for i, chain in enumerate(chains):
        kind = EVP_PKEY_get_base_id(X509_get0_pubkey(chain.certs[0]))
        for name in dns_names(chain.certs[0]):
            table.setdefault(name, {}).setdefault(kind, i)
    return {name: tuple(sorted(kinds.values())) for name, kinds in table.items()}


cdef bytes _session_id(list chains, object authorities, str mode):
    """A ticket is good only where it was given: same certificates, same demands on clients."""
    cdef Chain chain
    cdef char text[65]
    cdef int i
    digest = hashlib.sha256()
    for chain in chains:
        x509_fingerprint(chain.certs[0], text)
        digest.update(<bytes>text)
    if authorities is not None:
        chain = authorities
        digest.update(mode.encode())
        for i in range(chain.n):
            x509_fingerprint(chain.certs[i], text)
            digest.update(<bytes>text)
    return digest.digest()


cdef int set_ticket_keys(State* state, list keys) except -1:
    if not 1 <= len(keys) <= TICKET_KEYS_MAX or any(len(key) != TICKET_KEY_SIZE for key in keys):
        raise ValueError(f"ticket keys: 1 to {TICKET_KEYS_MAX} keys of {TICKET_KEY_SIZE} bytes are expected")
    for i, key in enumerate(keys):
        memcpy(&state.keys[i], <const char*>(<bytes>key), TICKET_KEY_SIZE)
    state.n_keys = <int>len(keys)
    return 0


cdef int _fill_table(State* state, dict table, dict contexts, tuple default) except -1:
    cdef Context context
    cdef size_t off = 0
    texts = sorted((name.encode("ascii"), group) for name, group in table.items())
    state.text = <char*>calloc(1, sum(len(text) + 1 for text, _ in texts) + 1)
    state.served = <Served*>calloc(len(texts) + 1, sizeof(Served))
    state.chosen = <SSL_CTX**>calloc(len(contexts), sizeof(void*))
    if state.text == NULL or state.served == NULL or state.chosen == NULL:
        raise MemoryError
    for i, (text, group) in enumerate(texts):
        context = contexts[group]
        memcpy(state.text + off, <const char*>(<bytes>text), len(text) + 1)
        state.served[i].name = state.text + off
        state.served[i].ctx = context.ctx
        off += len(text) + 1
    state.n_served = <int>len(texts)
    for group, context in contexts.items():
        if group != default:        # a reference to the default itself would be a circle
            SSL_CTX_up_ref(context.ctx)
            state.chosen[state.n_chosen] = context.ctx
            state.n_chosen += 1
    return 0


cdef State* _new_state(SSL_CTX* owner, object alpn, object ticket_keys) except NULL:
    wire = _alpn_wire(alpn)
    cdef State* state = <State*>calloc(1, sizeof(State))
    if state == NULL or not SSL_CTX_set_ex_data(owner, STATE_INDEX, state):
        free(state)
        raise MemoryError
    memcpy(state.alpn, <const char*>wire, len(wire))
    state.alpn_n = <unsigned int>len(wire)
    if ticket_keys is not None:
        set_ticket_keys(state, ticket_keys)
    return state


cdef SSL_CTX* server_context(list certificates, list names, str min_version, str ciphers, object client_ca, str client_mode, object alpn, object ticket_keys) except NULL:
    """One SSL_CTX for every distinct set of certificates that some name is served by; `names` is filled."""
    cdef Context context
    cdef State* state
    if not certificates:
        raise ValueError("a TLS listener needs at least one certificate")
    if client_mode not in CLIENT_MODES:
        raise ValueError(f"client_mode {client_mode!r} is not one of {', '.join(CLIENT_MODES)}")
    chains = [Chain(cert, "certificate") for cert, _ in certificates]
    keys = [Key(key, "private key") for _, key in certificates]
    authorities = Chain(client_ca, "client CA") if client_ca is not None else None
    session_id = _session_id(chains, authorities, client_mode)
    table = _groups(chains)
    default = next((group for group in table.values() if 0 in group), (0,))
    contexts: dict = {}
    for group in (default, *table.values(), *((i,) for i in range(len(chains)))):       # alone as well, so that a key that does not match is found
        if group not in contexts:
            context = contexts[group] = Context(True, min_version, ciphers)
            for i in group:
                context.use(chains[i], keys[i])
            if authorities is not None:
                context.ask_clients(authorities, client_mode)
    context = contexts[default]
    state = _new_state(context.ctx, alpn, ticket_keys)
    _fill_table(state, table, contexts, default)
    for context in contexts.values():
        context.serve(state, session_id)
    context = contexts[default]
    SSL_CTX_set_tlsext_servername_callback(context.ctx, _on_name)
    SSL_CTX_set_tlsext_servername_arg(context.ctx, state)
    names.extend(table)
    SSL_CTX_up_ref(context.ctx)
    return context.ctx


cdef SSL_CTX* client_context(bint verify, object ca, object certificate, object alpn, str min_version) except NULL:
    cdef Context context = Context(False, min_version, None)
    wire = _alpn_wire(alpn)
    if certificate is not None:
        context.use(Chain(certificate[0], "client certificate"), Key(certificate[1], "client private key"))
    if ca is not None:
        context.trust(Chain(ca, "CA"))
    elif verify:
        SSL_CTX_set1_cert_store(context.ctx, SYSTEM.current())
    SSL_CTX_set_verify(context.ctx, SSL_VERIFY_PEER if verify else SSL_VERIFY_NONE, NULL)
    if wire:
        SSL_CTX_set_alpn_protos(context.ctx, <const unsigned char*><const char*>wire, <unsigned int>len(wire))
    SSL_CTX_up_ref(context.ctx)
    return context.ctx
