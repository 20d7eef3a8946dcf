"""Certificates and private keys: reading PEM, and what a certificate says as text."""
import os

cimport cython
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset, strlen
from libc.time cimport time_t, tm

from gw._fast.openssl cimport *

cdef extern from "arpa/inet.h" nogil:
    enum:
        AF_INET
        AF_INET6
    const char* inet_ntop(int family, const void* address, char* out, unsigned int n)

cdef extern from "time.h" nogil:
    time_t timegm(tm* t)


cdef bint x509_name(X509_NAME* name, char* out, size_t cap) noexcept nogil:
    """RFC 2253 text, or "" and False when it does not fit: half a name could be somebody else's."""
    cdef BIO* bio = BIO_new(BIO_s_mem())
    cdef char* data = NULL
    cdef long n
    out[0] = 0
    if bio == NULL:
        return False
    X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253)
    n = BIO_get_mem_data(bio, &data)
    if 0 <= n < <long>cap:
        memcpy(out, data, n)
        out[n] = 0
    BIO_free(bio)
    return 0 <= n < <long>cap


cdef void x509_serial(X509* x, char* out, size_t cap) noexcept nogil:
    out[0] = 0
    cdef BIGNUM* number = ASN1_INTEGER_to_BN(X509_get_serialNumber(x), NULL)
    cdef char* text = BN_bn2hex(number) if number != NULL else NULL
    if text != NULL and strlen(text) < cap:
        memcpy(out, text, strlen(text) + 1)
    OPENSSL_free(text)
    BN_free(number)


cdef bint x509_sans(X509* x, char* out, size_t cap) noexcept nogil:
    """Entries of the subject alternative name, one a line, whole or not at all. False when one was left out."""
    cdef GENERAL_NAMES* names = <GENERAL_NAMES*>X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL)
    cdef size_t used = 0
    cdef int i
    cdef bint whole = True
    out[0] = 0
    if names == NULL:
        ERR_clear_error()
        return True
    for i in range(sk_GENERAL_NAME_num(names)):
        if not _san(sk_GENERAL_NAME_value(names, i), out, &used, cap):
            whole = False
    GENERAL_NAMES_free(names)
    return whole


cdef bint _san(GENERAL_NAME* name, char* out, size_t* used, size_t cap) noexcept nogil:
    cdef int kind = 0, n, i
    cdef ASN1_STRING* value = <ASN1_STRING*>GENERAL_NAME_get0_value(name, &kind)
    cdef const char* label
    cdef const char* text
    cdef char address[64]
    if kind == GEN_DNS:
        label = "DNS:"
    elif kind == GEN_EMAIL:
        label = "email:"
    elif kind == GEN_URI:
        label = "URI:"
    elif kind == GEN_IPADD:
        label = "IP:"
    else:
        return True
    text = <const char*>ASN1_STRING_get0_data(value)
    n = ASN1_STRING_length(value)
    if kind == GEN_IPADD:
        if n != 4 and n != 16 or inet_ntop(AF_INET if n == 4 else AF_INET6, text, address, sizeof(address)) == NULL:
            return False
        text = address
        n = <int>strlen(address)
    for i in range(n):
        if not 0x21 <= <unsigned char>text[i] <= 0x7E:      # a NUL or a line end inside a name is an attempt to be read as another name
            return False
    if used[0] + strlen(label) + n + 2 > cap:
        return False
    used[0] += snprintf(out + used[0], cap - used[0], "%s%.*s\n", label, n, text)
    return True

cdef void x509_fingerprint(X509* x, char* out) noexcept nogil:
    cdef unsigned char digest[32]
    cdef unsigned int n = 0
    cdef int i
    out[0] = 0
    if X509_digest(x, EVP_sha256(), digest, &n):
        for i in range(32):
            snprintf(out + 2 * i, 3, "%02x", digest[i])


cdef int _no_password(char* buf, int size, int writing, void* data) noexcept nogil:
    return -1       # never ask on the terminal


@cython.final
cdef class Chain:
    """Certificates of one PEM text, leaf first."""
    def __cinit__(self, source: str | bytes | os.PathLike, what: str) -> None:
        data, self.label = _read(source, what)
        cdef int room = data.count(b"-----BEGIN ")
        self.certs = <X509**>calloc(room + 1, sizeof(void*))
        cdef BIO* bio = BIO_new_mem_buf(<const char*>data, <int>len(data))
        if self.certs == NULL or bio == NULL:
            BIO_free(bio)
            raise MemoryError
        while self.n < room:
            self.certs[self.n] = PEM_read_bio_X509(bio, NULL, _no_password, NULL)
            if self.certs[self.n] == NULL:
                break
            self.n += 1
        BIO_free(bio)
        found = data.count(b"-----BEGIN CERTIFICATE-----") + data.count(b"-----BEGIN TRUSTED CERTIFICATE-----")
        ERR_clear_error()
        if found == 0:
            raise ValueError(f"{self.label}: no PEM certificate in it")
        if self.n < found:
            raise ValueError(f"{self.label}: certificate {self.n + 1} in it is damaged")

    def __dealloc__(self) -> None:
        cdef int i
        for i in range(self.n):
            X509_free(self.certs[i])
        free(self.certs)


@cython.final
cdef class Key:
    """A private key."""
    def __cinit__(self, source: str | bytes | os.PathLike, what: str) -> None:
        data, self.label = _read(source, what)
        if b"ENCRYPTED" in data:
            raise ValueError(f"{self.label}: the private key is protected by a password; store it without")
        cdef BIO* bio = BIO_new_mem_buf(<const char*>data, <int>len(data))
        if bio == NULL:
            raise MemoryError
        self.key = PEM_read_bio_PrivateKey(bio, NULL, _no_password, NULL)
        BIO_free(bio)
        ERR_clear_error()
        if self.key == NULL:
            raise ValueError(f"{self.label}: no PEM private key in it")

    def __dealloc__(self) -> None:
        EVP_PKEY_free(self.key)


cdef tuple _read(object source, str what):
    if isinstance(source, bytes):
        return source, what
    try:
        with open(source, "rb") as file:
            return file.read(), os.fspath(source)
    except OSError as error:
        raise ValueError(f"{os.fspath(source)}: cannot read the {what}: {error.strerror}") from None


cdef str openssl_reason():
    cdef const char* text = ERR_reason_error_string(ERR_peek_last_error())
    ERR_clear_error()
    return text.decode("ascii", "replace") if text != NULL else "unknown reason"


cdef list dns_names(X509* x):
    """Names a server certificate is good for, in lower case: DNS entries of the SAN, or the common name when there is none."""
    cdef char sans[65536]
    cdef X509_NAME* subject = X509_get_subject_name(x)
    cdef unsigned char* text = NULL
    cdef int n, i
    x509_sans(x, sans, sizeof(sans))
    names = [line[4:].lower().rstrip(".") for line in (<bytes>sans).decode("ascii").splitlines() if line.startswith("DNS:")]
    i = X509_NAME_get_index_by_NID(subject, NID_commonName, -1)
    if names or i < 0:
        return names
    n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i)))
    if n < 0:
        return []
    name = (<char*>text)[:n].decode("utf-8", "replace").lower()
    OPENSSL_free(text)
    return [name] if name.isascii() and name.isprintable() and " " not in name else []


cdef object _unix(const ASN1_TIME* when):
    cdef tm parts
    memset(&parts, 0, sizeof(parts))
    if not ASN1_TIME_to_tm(when, &parts):
        ERR_clear_error()
        return 0
    return timegm(&parts)


cdef dict _describe(X509* x):
    cdef char subject[4096]
    cdef char issuer[4096]
    cdef char sans[65536]
    cdef char serial[65]
    cdef char fingerprint[65]
    cdef EVP_PKEY* key = X509_get0_pubkey(x)
    x509_name(X509_get_subject_name(x), subject, sizeof(subject))
    x509_name(X509_get_issuer_name(x), issuer, sizeof(issuer))
    x509_sans(x, sans, sizeof(sans))
    x509_serial(x, serial, sizeof(serial))
    x509_fingerprint(x, fingerprint)
    ERR_clear_error()
    return {
        "subject": (<bytes>subject).decode(),
        "issuer": (<bytes>issuer).decode(),
        "names": dns_names(x),
        "sans": (<bytes>sans).decode().splitlines(),
        "serial": (<bytes>serial).decode(),
        "fingerprint": (<bytes>fingerprint).decode(),
        "not_before": _unix(X509_get0_notBefore(x)),
        "not_after": _unix(X509_get0_notAfter(x)),
        "key": f"{EVP_PKEY_get0_type_name(key).decode()} {EVP_PKEY_get_bits(key)}" if key != NULL else "unknown",
    }


def read_certificates(source: str | bytes | os.PathLike, what: str = "certificate") -> list:
    cdef Chain chain = Chain(source, what)
    return [_describe(chain.certs[i]) for i in range(chain.n)]
