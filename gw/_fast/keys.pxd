"""Keys that tokens are verified with: one algorithm each (RFC 8725 section 3.1), OpenSSL's contexts made ready once."""
from libc.stdint cimport uint32_t, uint64_t

from gw._fast.openssl cimport EVP_MAC_CTX, EVP_MD, EVP_MD_CTX, EVP_PKEY, EVP_PKEY_CTX


cdef enum:
    SIGNATURE_MAX = 1024    # octets: RSA with 8192 bits
    ALGORITHM_NAME_MAX = 8  # letters


cdef enum:                  # RFC 7518 section 3.1, RFC 8037, RFC 9864
    ALG_NONE                # no algorithm that is accepted here
    ALG_HS256
    ALG_HS384
    ALG_HS512
    ALG_RS256
    ALG_RS384
    ALG_RS512
    ALG_PS256
    ALG_PS384
    ALG_PS512
    ALG_ES256
    ALG_ES384
    ALG_ES512
    ALG_ED25519
    ALG_ED448
    ALG_EDDSA               # what a token may say of a key of either curve; no key has it


cdef struct Key:
    int alg                     # ALG_*
    uint32_t signature_n        # octets of every signature by this key
    uint32_t kid_n
    const char* kid             # borrowed from KeySet.kids; NULL: a key without a name, which any token may mean
    EVP_MAC_CTX* mac            # owned; HS*: holds the secret
    EVP_PKEY* key               # owned; the others
    EVP_PKEY_CTX* verifier      # owned; RS*, PS*, ES*: ready for EVP_PKEY_verify
    EVP_MD* digest              # owned; the hash of RS*, PS*, ES*
    EVP_MD_CTX* digesting       # owned; scratch of that hash, or of EdDSA
    unsigned char order[66]     # ES*: of the group, big-endian, signature_n / 2 octets


cdef struct KeySetState:
    Key* keys               # owned by the KeySet
    uint32_t n
    uint32_t n_named        # keys with a kid
    uint64_t generation     # no two KeySets of a process have the same


# The keys do not change; the contexts do while one verifies, so a KeySet belongs to one thread at a time.
cdef class KeySet:
    cdef KeySetState state
    cdef list kids          # keeps the octets that Key.kid points to; one entry a key
    cdef object _add(self, str alg, str kid, bytes material)
    cdef object _name(self, Key* key, str kid)


cdef int algorithm_named(const char* name, uint32_t n) noexcept nogil       # ALG_NONE for an unknown name
cdef bint algorithm_fits(int named, int alg) noexcept nogil                 # whether a token that says `named` may be verified by a key for `alg`

# Whether `signature` is this key's signature of data[0 .. n). The comparison of MACs takes the same time wherever they differ.
cdef bint key_verify(Key* key, const char* data, size_t n, const unsigned char* signature, uint32_t signature_n) noexcept nogil
