"""Certificates and private keys: reading PEM, and what a certificate says as text."""
from gw._fast.openssl cimport EVP_PKEY, X509, X509_NAME


cdef class Chain:           # certificates of one PEM text, leaf first; at least one
    cdef X509** certs       # owned, each of them too
    cdef int n
    cdef str label          # what an error calls it: the path, or what it is


cdef class Key:
    cdef EVP_PKEY* key      # owned
    cdef str label


# The text functions end `out` with NUL.
# RFC 2253 text, or "" and False when it does not fit: half a name could be somebody else's.
cdef bint x509_name(X509_NAME* name, char* out, size_t cap) noexcept nogil
# DNS, IP, email and URI entries of the subject alternative name, one a line, each whole or not at all; False when one was left out.
cdef bint x509_sans(X509* x, char* out, size_t cap) noexcept nogil
cdef void x509_serial(X509* x, char* out, size_t cap) noexcept nogil         # upper-case hex, or "" when it does not fit
cdef void x509_fingerprint(X509* x, char* out) noexcept nogil                # SHA-256 of the DER, 64 lower-case hex digits
cdef list dns_names(X509* x)        # names a server certificate is good for, lower case: DNS entries, or the common name when there is none
cdef str openssl_reason()           # text of the last error of this thread; clears the queue
