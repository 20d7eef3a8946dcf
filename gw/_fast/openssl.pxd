"""The part of OpenSSL 3 that tls and keys use. Macros of the headers appear as functions."""
from libc.stdint cimport uint64_t
from libc.time cimport time_t, tm

cdef extern from "openssl/crypto.h" nogil:
    int CRYPTO_memcmp(const void* a, const void* b, size_t n)
    void OPENSSL_free(void* p)

cdef extern from "openssl/err.h" nogil:
    unsigned long ERR_peek_last_error()
    void ERR_clear_error()
    const char* ERR_reason_error_string(unsigned long code)
    int ERR_GET_REASON(unsigned long code)
    int ERR_GET_LIB(unsigned long code)
    enum:
        ERR_LIB_SSL

cdef extern from "openssl/bio.h" nogil:
    ctypedef struct BIO
    ctypedef struct BIO_METHOD
    enum:
        BIO_TYPE_SOURCE_SINK
        BIO_CTRL_FLUSH
        BIO_CTRL_EOF
    int BIO_get_new_index()
    BIO_METHOD* BIO_meth_new(int type, const char* name)
    int BIO_meth_set_write_ex(BIO_METHOD* m, int (*f)(BIO*, const char*, size_t, size_t*) noexcept nogil)
    int BIO_meth_set_read_ex(BIO_METHOD* m, int (*f)(BIO*, char*, size_t, size_t*) noexcept nogil)
    int BIO_meth_set_ctrl(BIO_METHOD* m, long (*f)(BIO*, int, long, void*) noexcept nogil)
    BIO* BIO_new(const BIO_METHOD* m)
    BIO* BIO_new_mem_buf(const void* buf, int n)
    const BIO_METHOD* BIO_s_mem()
    int BIO_free(BIO* b)
    void BIO_set_data(BIO* b, void* data)
    void* BIO_get_data(BIO* b)
    void BIO_set_init(BIO* b, int init)
    void BIO_clear_retry_flags(BIO* b)
    void BIO_set_retry_read(BIO* b)
    void BIO_set_retry_write(BIO* b)
    long BIO_get_mem_data(BIO* b, char** data)

cdef extern from "openssl/asn1.h" nogil:
    ctypedef struct ASN1_STRING
    ctypedef struct ASN1_INTEGER
    ctypedef struct ASN1_TIME
    const unsigned char* ASN1_STRING_get0_data(const ASN1_STRING* s)
    int ASN1_STRING_length(const ASN1_STRING* s)
    int ASN1_STRING_to_UTF8(unsigned char** out, const ASN1_STRING* s)
    int ASN1_TIME_to_tm(const ASN1_TIME* t, tm* out)

cdef extern from "openssl/bn.h" nogil:
    ctypedef struct BIGNUM
    char* BN_bn2hex(const BIGNUM* n)
    int BN_bn2binpad(const BIGNUM* n, unsigned char* out, int size)
    void BN_free(BIGNUM* n)
    BIGNUM* ASN1_INTEGER_to_BN(const ASN1_INTEGER* i, BIGNUM* n)

cdef extern from "openssl/params.h" nogil:
    ctypedef struct OSSL_PARAM:
        const char* key
    OSSL_PARAM OSSL_PARAM_construct_octet_string(const char* key, void* buf, size_t n)
    OSSL_PARAM OSSL_PARAM_construct_utf8_string(const char* key, char* buf, size_t n)
    OSSL_PARAM OSSL_PARAM_construct_end()

cdef extern from "openssl/evp.h" nogil:
    ctypedef struct EVP_PKEY
    ctypedef struct EVP_MD
    ctypedef struct EVP_CIPHER
    ctypedef struct EVP_CIPHER_CTX
    ctypedef struct EVP_MD_CTX
    ctypedef struct EVP_MAC
    ctypedef struct EVP_MAC_CTX
    ctypedef struct EVP_PKEY_CTX
    ctypedef struct ENGINE
    enum:
        EVP_MAX_MD_SIZE
    const EVP_MD* EVP_sha256()
    EVP_CIPHER* EVP_CIPHER_fetch(void* library, const char* name, const char* properties)
    int EVP_EncryptInit_ex(EVP_CIPHER_CTX* c, const EVP_CIPHER* t, ENGINE* e, const unsigned char* key, const unsigned char* iv)
    int EVP_DecryptInit_ex(EVP_CIPHER_CTX* c, const EVP_CIPHER* t, ENGINE* e, const unsigned char* key, const unsigned char* iv)
    int EVP_PKEY_get_base_id(const EVP_PKEY* k)
    int EVP_PKEY_get_bits(const EVP_PKEY* k)
    const char* EVP_PKEY_get0_type_name(const EVP_PKEY* k)
    int EVP_PKEY_is_a(const EVP_PKEY* k, const char* name)
    int EVP_PKEY_get_group_name(const EVP_PKEY* k, char* out, size_t cap, size_t* n)
    int EVP_PKEY_get_bn_param(const EVP_PKEY* k, const char* name, BIGNUM** out)
    void EVP_PKEY_free(EVP_PKEY* k)
    EVP_PKEY_CTX* EVP_PKEY_CTX_new(EVP_PKEY* k, ENGINE* e)
    void EVP_PKEY_CTX_free(EVP_PKEY_CTX* c)
    int EVP_PKEY_public_check(EVP_PKEY_CTX* c)
    int EVP_PKEY_verify_init(EVP_PKEY_CTX* c)
    int EVP_PKEY_CTX_set_signature_md(EVP_PKEY_CTX* c, const EVP_MD* t)
    int EVP_PKEY_verify(EVP_PKEY_CTX* c, const unsigned char* signature, size_t n, const unsigned char* digest, size_t digest_n)
    EVP_MD* EVP_MD_fetch(void* library, const char* name, const char* properties)
    void EVP_MD_free(EVP_MD* t)
    EVP_MD_CTX* EVP_MD_CTX_new()
    void EVP_MD_CTX_free(EVP_MD_CTX* c)
    int EVP_DigestInit_ex2(EVP_MD_CTX* c, const EVP_MD* t, const OSSL_PARAM* p)
    int EVP_DigestUpdate(EVP_MD_CTX* c, const void* data, size_t n)
    int EVP_DigestFinal_ex(EVP_MD_CTX* c, unsigned char* out, unsigned int* n)
    int EVP_DigestVerifyInit(EVP_MD_CTX* c, EVP_PKEY_CTX** out, const EVP_MD* t, ENGINE* e, EVP_PKEY* k)
    int EVP_DigestVerify(EVP_MD_CTX* c, const unsigned char* signature, size_t n, const unsigned char* data, size_t data_n)
    EVP_MAC* EVP_MAC_fetch(void* library, const char* name, const char* properties)
    void EVP_MAC_free(EVP_MAC* m)
    EVP_MAC_CTX* EVP_MAC_CTX_new(EVP_MAC* m)
    void EVP_MAC_CTX_free(EVP_MAC_CTX* c)
    int EVP_MAC_CTX_set_params(EVP_MAC_CTX* c, const OSSL_PARAM* p)
    int EVP_MAC_init(EVP_MAC_CTX* c, const unsigned char* key, size_t n, const OSSL_PARAM* p)
    int EVP_MAC_update(EVP_MAC_CTX* c, const unsigned char* data, size_t n)
    int EVP_MAC_final(EVP_MAC_CTX* c, unsigned char* out, size_t* n, size_t cap)

cdef extern from "openssl/rsa.h" nogil:
    enum:
        RSA_PKCS1_PADDING
        RSA_PKCS1_PSS_PADDING
        RSA_PSS_SALTLEN_DIGEST
    int EVP_PKEY_CTX_set_rsa_padding(EVP_PKEY_CTX* c, int padding)
    int EVP_PKEY_CTX_set_rsa_pss_saltlen(EVP_PKEY_CTX* c, int n)
    int EVP_PKEY_CTX_set_rsa_mgf1_md(EVP_PKEY_CTX* c, const EVP_MD* t)

cdef extern from "openssl/core_names.h" nogil:
    const char* OSSL_PKEY_PARAM_EC_ORDER
    const char* OSSL_MAC_PARAM_DIGEST

cdef extern from "openssl/rand.h" nogil:
    int RAND_bytes(unsigned char* buf, int n)

cdef extern from "openssl/x509v3.h" nogil:
    ctypedef struct X509
    ctypedef struct X509_NAME
    ctypedef struct X509_NAME_ENTRY
    ctypedef struct X509_STORE
    ctypedef struct X509_VERIFY_PARAM
    ctypedef struct GENERAL_NAMES
    ctypedef struct GENERAL_NAME
    enum:
        NID_subject_alt_name
        NID_commonName
        GEN_EMAIL
        GEN_DNS
        GEN_URI
        GEN_IPADD
        XN_FLAG_RFC2253
        X509_V_OK
        X509_V_FLAG_PARTIAL_CHAIN
        X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
        X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS
    EVP_PKEY* d2i_PUBKEY(EVP_PKEY** k, const unsigned char** data, long n)
    void X509_free(X509* x)
    X509_NAME* X509_get_subject_name(const X509* x)
    X509_NAME* X509_get_issuer_name(const X509* x)
    ASN1_INTEGER* X509_get_serialNumber(X509* x)
    const ASN1_TIME* X509_get0_notBefore(const X509* x)
    const ASN1_TIME* X509_get0_notAfter(const X509* x)
    int X509_cmp_current_time(const ASN1_TIME* t)
    EVP_PKEY* X509_get0_pubkey(const X509* x)
    int X509_check_private_key(const X509* x, const EVP_PKEY* k)
    int X509_digest(const X509* x, const EVP_MD* t, unsigned char* out, unsigned int* n)
    void* X509_get_ext_d2i(const X509* x, int nid, int* critical, int* index)
    const char* X509_verify_cert_error_string(long code)
    int X509_NAME_print_ex(BIO* b, const X509_NAME* name, int indent, unsigned long flags)
    int X509_NAME_get_index_by_NID(const X509_NAME* name, int nid, int last)
    X509_NAME_ENTRY* X509_NAME_get_entry(const X509_NAME* name, int i)
    ASN1_STRING* X509_NAME_ENTRY_get_data(const X509_NAME_ENTRY* e)
    int sk_GENERAL_NAME_num(const GENERAL_NAMES* s)
    GENERAL_NAME* sk_GENERAL_NAME_value(const GENERAL_NAMES* s, int i)
    void* GENERAL_NAME_get0_value(const GENERAL_NAME* n, int* type)
    void GENERAL_NAMES_free(GENERAL_NAMES* s)
    X509_STORE* X509_STORE_new()
    void X509_STORE_free(X509_STORE* s)
    int X509_STORE_add_cert(X509_STORE* s, X509* x)
    int X509_STORE_set_default_paths(X509_STORE* s)
    const char* X509_get_default_cert_file()
    const char* X509_get_default_cert_file_env()
    const char* X509_get_default_cert_dir()
    const char* X509_get_default_cert_dir_env()
    int X509_STORE_set_flags(X509_STORE* s, unsigned long flags)
    int X509_VERIFY_PARAM_set1_ip_asc(X509_VERIFY_PARAM* p, const char* ip)

cdef extern from "openssl/pem.h" nogil:
    ctypedef int (*pem_password_cb)(char* buf, int size, int rwflag, void* data) noexcept nogil
    X509* PEM_read_bio_X509(BIO* b, X509** x, pem_password_cb cb, void* data)
    EVP_PKEY* PEM_read_bio_PrivateKey(BIO* b, EVP_PKEY** k, pem_password_cb cb, void* data)

cdef extern from "openssl/ssl.h" nogil:
    ctypedef struct SSL
    ctypedef struct SSL_CTX
    ctypedef struct SSL_METHOD
    ctypedef struct SSL_SESSION
    ctypedef struct SSL_CIPHER
    ctypedef struct CRYPTO_EX_DATA
    enum:
        SSL_MODE_ENABLE_PARTIAL_WRITE
        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
        SSL_MODE_RELEASE_BUFFERS
        SSL_OP_NO_RENEGOTIATION
        SSL_OP_NO_COMPRESSION
        SSL_OP_NO_TICKET
        SSL_SESS_CACHE_OFF
        SSL_VERIFY_NONE
        SSL_VERIFY_PEER
        SSL_VERIFY_FAIL_IF_NO_PEER_CERT
        SSL_READING
        SSL_WRITING
        SSL_SENT_SHUTDOWN
        SSL_CB_READ_ALERT
        SSL_CB_HANDSHAKE_DONE
        SSL_TLSEXT_ERR_OK
        SSL_TLSEXT_ERR_ALERT_FATAL
        SSL_TLSEXT_ERR_NOACK
        TLSEXT_NAMETYPE_host_name
        OPENSSL_NPN_NEGOTIATED
        SSL_TICKET_SUCCESS
        SSL_TICKET_SUCCESS_RENEW
        SSL_TICKET_RETURN_IGNORE_RENEW
        SSL_TICKET_RETURN_USE
        SSL_TICKET_RETURN_USE_RENEW
        SSL_R_CERTIFICATE_VERIFY_FAILED
        SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE
        SSL_R_HTTP_REQUEST
        TLS1_2_VERSION
        TLS1_3_VERSION
    const SSL_METHOD* TLS_server_method()
    const SSL_METHOD* TLS_client_method()
    SSL_CTX* SSL_CTX_new(const SSL_METHOD* m)
    void SSL_CTX_free(SSL_CTX* c)
    int SSL_CTX_up_ref(SSL_CTX* c)
    long SSL_CTX_set_mode(SSL_CTX* c, long mode)
    uint64_t SSL_CTX_set_options(SSL_CTX* c, uint64_t options)
    void SSL_CTX_set_read_ahead(SSL_CTX* c, int yes)
    long SSL_CTX_set_session_cache_mode(SSL_CTX* c, long mode)
    int SSL_CTX_set_num_tickets(SSL_CTX* c, size_t n)
    int SSL_CTX_set_min_proto_version(SSL_CTX* c, int version)
    int SSL_CTX_set_cipher_list(SSL_CTX* c, const char* text)
    int SSL_CTX_set1_groups_list(SSL_CTX* c, const char* text)
    int SSL_CTX_use_certificate(SSL_CTX* c, X509* x)
    int SSL_CTX_use_PrivateKey(SSL_CTX* c, EVP_PKEY* k)
    int SSL_CTX_add1_chain_cert(SSL_CTX* c, X509* x)
    int SSL_CTX_add_client_CA(SSL_CTX* c, X509* x)
    void SSL_CTX_set1_cert_store(SSL_CTX* c, X509_STORE* s)
    void SSL_CTX_set_verify(SSL_CTX* c, int mode, void* callback)
    int SSL_CTX_set_session_id_context(SSL_CTX* c, const unsigned char* id, unsigned int n)
    void SSL_CTX_set_info_callback(SSL_CTX* c, void (*f)(const SSL*, int, int) noexcept nogil)
    int SSL_CTX_set_tlsext_servername_callback(SSL_CTX* c, int (*f)(SSL*, int*, void*) noexcept nogil)
    int SSL_CTX_set_tlsext_servername_arg(SSL_CTX* c, void* arg)
    void SSL_CTX_set_alpn_select_cb(SSL_CTX* c, int (*f)(SSL*, const unsigned char**, unsigned char*, const unsigned char*, unsigned int, void*) noexcept nogil, void* arg)
    int SSL_CTX_set_alpn_protos(SSL_CTX* c, const unsigned char* protos, unsigned int n)
    int SSL_CTX_set_tlsext_ticket_key_evp_cb(SSL_CTX* c, int (*f)(SSL*, unsigned char*, unsigned char*, EVP_CIPHER_CTX*, EVP_MAC_CTX*, int) noexcept nogil)
    int SSL_CTX_set_session_ticket_cb(SSL_CTX* c, void* generate, int (*f)(SSL*, SSL_SESSION*, const unsigned char*, size_t, int, void*) noexcept nogil, void* arg)
    int SSL_CTX_get_ex_new_index(long l, void* p, void* new, void* dup, void (*f)(void*, void*, CRYPTO_EX_DATA*, int, long, void*) noexcept nogil)
    int SSL_CTX_set_ex_data(SSL_CTX* c, int index, void* data)
    void* SSL_CTX_get_ex_data(const SSL_CTX* c, int index)
    int SSL_select_next_proto(unsigned char** out, unsigned char* n, const unsigned char* server, unsigned int server_len, const unsigned char* client, unsigned int client_len)
    SSL* SSL_new(SSL_CTX* c)
    void SSL_free(SSL* s)
    void SSL_set_bio(SSL* s, BIO* r, BIO* w)
    int SSL_set_ex_data(SSL* s, int index, void* data)
    void* SSL_get_ex_data(const SSL* s, int index)
    SSL_CTX* SSL_set_SSL_CTX(SSL* s, SSL_CTX* c)
    void SSL_set_accept_state(SSL* s)
    void SSL_set_connect_state(SSL* s)
    int SSL_do_handshake(SSL* s)
    int SSL_read_ex(SSL* s, void* buf, size_t n, size_t* done)
    int SSL_write_ex(SSL* s, const void* buf, size_t n, size_t* done)
    int SSL_has_pending(const SSL* s)
    int SSL_want(const SSL* s)
    int SSL_is_init_finished(const SSL* s)
    int SSL_shutdown(SSL* s)
    int SSL_get_shutdown(const SSL* s)
    int SSL_get_verify_mode(const SSL* s)
    long SSL_get_verify_result(const SSL* s)
    X509* SSL_get0_peer_certificate(const SSL* s)
    X509* SSL_SESSION_get0_peer(SSL_SESSION* s)
    X509_VERIFY_PARAM* SSL_get0_param(SSL* s)
    int SSL_set1_host(SSL* s, const char* name)
    void SSL_set_hostflags(SSL* s, unsigned int flags)
    int SSL_set_tlsext_host_name(SSL* s, const char* name)
    const char* SSL_get_servername(const SSL* s, int type)
    const char* SSL_get_version(const SSL* s)
    const SSL_CIPHER* SSL_get_current_cipher(const SSL* s)
    const char* SSL_CIPHER_get_name(const SSL_CIPHER* c)
    void SSL_get0_alpn_selected(const SSL* s, const unsigned char** data, unsigned int* n)
    int SSL_session_reused(const SSL* s)
    const char* SSL_alert_desc_string_long(int value)
