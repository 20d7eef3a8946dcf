"""Keys that tokens are verified with, and verifying."""
cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, strlen

from gw._fast.openssl cimport *
from gw._fast.x509 cimport openssl_reason

cdef enum:
    RSA_BITS_MIN = 2048         # RFC 7518 section 3.3
    RSA_BITS_MAX = 8 * SIGNATURE_MAX
    DER_MAX = 2 * (66 + 3) + 3  # two integers of P-521 in a sequence


cdef struct Algorithm:
    const char* name
    const char* digest          # OpenSSL's name; NULL for EdDSA
    const char* kind            # OpenSSL's name of the type of key, NULL for HMAC
    const char* group           # OpenSSL's name of the curve of ES*
    uint32_t size               # octets: the hash of HS*, one coordinate of ES*, the signature of EdDSA


cdef Algorithm ALGORITHMS[ALG_EDDSA + 1]


cdef void _algorithm(int alg, const char* name, const char* digest, const char* kind, const char* group, uint32_t size):
    ALGORITHMS[alg].name = name
    ALGORITHMS[alg].digest = digest
    ALGORITHMS[alg].kind = kind
    ALGORITHMS[alg].group = group
    ALGORITHMS[alg].size = size


_algorithm(ALG_NONE, b"", NULL, NULL, NULL, 0)
_algorithm(ALG_HS256, b"HS256", b"SHA256", NULL, NULL, 32)
_algorithm(ALG_HS384, b"HS384", b"SHA384", NULL, NULL, 48)
_algorithm(ALG_HS512, b"HS512", b"SHA512", NULL, NULL, 64)
_algorithm(ALG_RS256, b"RS256", b"SHA256", b"RSA", NULL, 0)
_algorithm(ALG_RS384, b"RS384", b"SHA384", b"RSA", NULL, 0)
_algorithm(ALG_RS512, b"RS512", b"SHA512", b"RSA", NULL, 0)
_algorithm(ALG_PS256, b"PS256", b"SHA256", b"RSA", NULL, 0)
_algorithm(ALG_PS384, b"PS384", b"SHA384", b"RSA", NULL, 0)
_algorithm(ALG_PS512, b"PS512", b"SHA512", b"RSA", NULL, 0)
_algorithm(ALG_ES256, b"ES256", b"SHA256", b"EC", b"prime256v1", 32)
_algorithm(ALG_ES384, b"ES384", b"SHA384", b"EC", b"secp384r1", 48)
_algorithm(ALG_ES512, b"ES512", b"SHA512", b"EC", b"secp521r1", 66)
_algorithm(ALG_ED25519, b"Ed25519", NULL, b"ED25519", NULL, 64)
_algorithm(ALG_ED448, b"Ed448", NULL, b"ED448", NULL, 114)
_algorithm(ALG_EDDSA, b"EdDSA", NULL, NULL, NULL, 0)

cdef EVP_MAC* HMAC = EVP_MAC_fetch(NULL, b"HMAC", NULL)


cdef int algorithm_named(const char* name, uint32_t n) noexcept nogil:
    cdef int alg
    for alg in range(ALG_HS256, ALG_EDDSA + 1):
        if strlen(ALGORITHMS[alg].name) == n and memcmp(ALGORITHMS[alg].name, name, n) == 0:
            return alg
    return ALG_NONE


cdef bint algorithm_fits(int named, int alg) noexcept nogil:
    return named == alg or (named == ALG_EDDSA and (alg == ALG_ED25519 or alg == ALG_ED448))


cdef bint _mac(Key* key, const char* data, size_t n, const unsigned char* signature) noexcept nogil:
    cdef unsigned char tag[EVP_MAX_MD_SIZE]
    cdef size_t size = 0
    # without a key, init goes back to the state after the padded secret: 279 ns for 250 octets, a copy of the context 484 ns
    if not EVP_MAC_init(key.mac, NULL, 0, NULL) or not EVP_MAC_update(key.mac, <const unsigned char*>data, n):
        return False
    return EVP_MAC_final(key.mac, tag, &size, sizeof(tag)) and size == key.signature_n and CRYPTO_memcmp(tag, signature, size) == 0


# One INTEGER in DER: no needless zeros in front, one where the first bit would be a sign. Returns the octets written.
cdef uint32_t _integer(const unsigned char* raw, uint32_t n, unsigned char* out) noexcept nogil:
    cdef uint32_t sign
    while n > 1 and raw[0] == 0:
        raw += 1
        n -= 1
    sign = raw[0] >> 7
    out[0] = 2
    out[1] = <unsigned char>(n + sign)
    out[2] = 0
    memcpy(out + 2 + sign, raw, n)
    return 2 + sign + n


# Whether this big-endian number of key.signature_n / 2 octets is at least 1 and below the order of the group.
cdef bint _in_range(const Key* key, const unsigned char* number) noexcept nogil:
    cdef uint32_t half = key.signature_n // 2, i
    cdef unsigned char seen = 0
    for i in range(half):
        seen |= number[i]
    return seen != 0 and memcmp(number, key.order, half) < 0


# r and s side by side (RFC 7518 section 3.4) as a DER SEQUENCE. 0 when one of them is out of range.
cdef uint32_t _sequence(const Key* key, const unsigned char* signature, unsigned char* out) noexcept nogil:
    cdef unsigned char integers[DER_MAX]
    cdef uint32_t half = key.signature_n // 2, n, at = 1
    if not _in_range(key, signature) or not _in_range(key, signature + half):
        return 0
    n = _integer(signature, half, integers)
    n += _integer(signature + half, half, integers + n)
    out[0] = 0x30
    if n > 0x7F:
        out[at] = 0x81
        at += 1
    out[at] = <unsigned char>n
    memcpy(out + at + 1, integers, n)
    return at + 1 + n


cdef bint _digest_signature(Key* key, const char* data, size_t n, const unsigned char* signature, uint32_t signature_n) noexcept nogil:
    cdef unsigned char digest[EVP_MAX_MD_SIZE]
    cdef unsigned char der[DER_MAX]
    cdef unsigned int digest_n = 0
    if ALGORITHMS[key.alg].group != NULL:
        signature_n = _sequence(key, signature, der)
        signature = der
        if signature_n == 0:
            return False
    if not EVP_DigestInit_ex2(key.digesting, key.digest, NULL) or not EVP_DigestUpdate(key.digesting, data, n):
        return False
    return EVP_DigestFinal_ex(key.digesting, digest, &digest_n) and EVP_PKEY_verify(key.verifier, signature, signature_n, digest, digest_n) == 1


cdef bint key_verify(Key* key, const char* data, size_t n, const unsigned char* signature, uint32_t signature_n) noexcept nogil:
    cdef bint good
    if signature_n != key.signature_n:
        return False
    if key.mac != NULL:
        return _mac(key, data, n, signature)
    if key.verifier != NULL:
        good = _digest_signature(key, data, n, signature, signature_n)
    else:
        good = EVP_DigestVerifyInit(key.digesting, NULL, NULL, NULL, key.key) and EVP_DigestVerify(key.digesting, signature, signature_n, <const unsigned char*>data, n) == 1
    if not good:
        ERR_clear_error()       # else the next SSL call of this thread would find it
    return good


cdef str _make_mac(Key* key, bytes secret):
    """Why this secret does not do, or None."""
    cdef const Algorithm* a = ALGORITHMS + key.alg
    cdef OSSL_PARAM params[2]
    if len(secret) < a.size:
        return f"the secret has {len(secret)} bytes, {a.name.decode()} needs {a.size} or more (RFC 7518 section 3.2)"
    key.signature_n = a.size
    key.mac = EVP_MAC_CTX_new(HMAC)
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, <char*>a.digest, 0)
    params[1] = OSSL_PARAM_construct_end()
    if key.mac == NULL or not EVP_MAC_init(key.mac, <const unsigned char*><const char*>secret, len(secret), params):
        raise MemoryError
    return None


cdef str _read_key(Key* key, bytes der):
    """Take a SubjectPublicKeyInfo. Why it does not do, or None."""
    cdef const unsigned char* p = <const unsigned char*><const char*>der
    cdef const unsigned char* end = p + len(der)
    cdef EVP_PKEY_CTX* context
    cdef bint good
    key.key = d2i_PUBKEY(NULL, &p, <long>len(der))
    if key.key == NULL or p != end:
        return f"not a public key in DER: {openssl_reason() if key.key == NULL else 'octets after it'}"
    if not EVP_PKEY_is_a(key.key, ALGORITHMS[key.alg].kind):
        return f"{ALGORITHMS[key.alg].name.decode()} needs a key of type {ALGORITHMS[key.alg].kind.decode()}, this one is {EVP_PKEY_get0_type_name(key.key).decode()}"
    context = EVP_PKEY_CTX_new(key.key, NULL)
    good = context != NULL and EVP_PKEY_public_check(context) == 1
    EVP_PKEY_CTX_free(context)
    return None if good else f"not a valid public key: {openssl_reason()}"


cdef str _make_verifier(Key* key):
    cdef const Algorithm* a = ALGORITHMS + key.alg
    cdef bint pss = ALG_PS256 <= key.alg <= ALG_PS512
    cdef int bits = EVP_PKEY_get_bits(key.key)
    key.signature_n = a.size
    key.digesting = EVP_MD_CTX_new()
    if key.digesting == NULL:
        raise MemoryError
    if a.digest == NULL:
        return None
    if a.group != NULL:
        key.signature_n = 2 * a.size
        problem = _read_group(key, a)
        if problem is not None:
            return problem
    elif not RSA_BITS_MIN <= bits <= RSA_BITS_MAX:
        return f"the RSA key has {bits} bits, expected {RSA_BITS_MIN} to {RSA_BITS_MAX}"
    else:
        key.signature_n = (bits + 7) // 8
    key.digest = EVP_MD_fetch(NULL, a.digest, NULL)
    key.verifier = EVP_PKEY_CTX_new(key.key, NULL)
    if key.digest == NULL or key.verifier == NULL or EVP_PKEY_verify_init(key.verifier) <= 0:
        raise MemoryError
    if a.group == NULL and EVP_PKEY_CTX_set_rsa_padding(key.verifier, RSA_PKCS1_PSS_PADDING if pss else RSA_PKCS1_PADDING) <= 0:
        return f"OpenSSL refuses the padding: {openssl_reason()}"
    if EVP_PKEY_CTX_set_signature_md(key.verifier, key.digest) <= 0:
        return f"OpenSSL refuses the hash: {openssl_reason()}"
    # RFC 7518 section 3.5: MGF1 and salt as the hash
    if pss and (EVP_PKEY_CTX_set_rsa_mgf1_md(key.verifier, key.digest) <= 0 or EVP_PKEY_CTX_set_rsa_pss_saltlen(key.verifier, RSA_PSS_SALTLEN_DIGEST) <= 0):
        return f"OpenSSL refuses PSS: {openssl_reason()}"
    return None


cdef str _read_group(Key* key, const Algorithm* a):
    cdef char group[64]
    cdef size_t n = 0
    cdef BIGNUM* order = NULL
    cdef bint good
    if not EVP_PKEY_get_group_name(key.key, group, sizeof(group), &n) or memcmp(group, a.group, strlen(a.group) + 1) != 0:
        ERR_clear_error()
        return f"{a.name.decode()} needs a key on {a.group.decode()}, this one is on {group[:n].decode() if n else 'a curve without a name'}"
    good = EVP_PKEY_get_bn_param(key.key, OSSL_PKEY_PARAM_EC_ORDER, &order) and BN_bn2binpad(order, key.order, <int>a.size) == <int>a.size
    BN_free(order)
    return None if good else f"the order of the group cannot be read: {openssl_reason()}"


cdef uint64_t built = 0


@cython.final
cdef class KeySet:
    """An immutable set of keys."""
    def __cinit__(self, keys) -> None:
        global built
        cdef list entries = list(keys)
        self.kids = []
        self.state.keys = <Key*>calloc(len(entries) + 1, sizeof(Key))
        if self.state.keys == NULL:
            raise MemoryError
        for alg, kid, material in entries:
            self._add(alg, kid, material)
        built += 1
        self.state.generation = built

    def __dealloc__(self) -> None:
        cdef Key* key
        for key in self.state.keys[:self.state.n]:
            EVP_MAC_CTX_free(key.mac)
            EVP_PKEY_CTX_free(key.verifier)
            EVP_MD_CTX_free(key.digesting)
            EVP_MD_free(key.digest)
            EVP_PKEY_free(key.key)
        free(self.state.keys)

    def __len__(self) -> int:
        return self.state.n

    def __repr__(self) -> str:
        listed = ", ".join(f"{alg} {kid!r}" if kid is not None else alg for alg, kid in self.names)
        return f"<KeySet {self.state.generation}: {listed or 'empty'}>"

    @property
    def names(self) -> list:
        return [
            (ALGORITHMS[self.state.keys[i].alg].name.decode(), self.kids[i].decode() if self.kids[i] is not None else None)
            for i in range(self.state.n)
        ]

    @property
    def generation(self) -> int:
        return self.state.generation

    cdef object _add(self, str alg, str kid, bytes material):
        cdef Key* key = self.state.keys + self.state.n
        where = f"key {self.state.n + 1}" if kid is None else f"key {self.state.n + 1} ({kid!r})"
        self.state.n += 1       # from here on __dealloc__ frees what it has
        name = alg.encode()
        key.alg = algorithm_named(name, <uint32_t>len(name))
        self._name(key, kid)
        if key.alg == ALG_EDDSA:
            problem = "EdDSA does not say which curve; expected Ed25519 or Ed448"
        elif key.alg == ALG_NONE:
            problem = f"{alg!r} is not an algorithm that tokens may have; expected one of {', '.join(NAMES)}"
        elif ALGORITHMS[key.alg].kind == NULL:
            problem = _make_mac(key, material)
        else:
            problem = _read_key(key, material) or _make_verifier(key)
        if problem is not None:
            raise ValueError(f"{where}: {problem}")

    cdef object _name(self, Key* key, str kid):
        octets = None if kid is None else kid.encode()
        self.kids.append(octets)
        if octets is not None:
            key.kid = octets
            key.kid_n = <uint32_t>len(octets)
            self.state.n_named += 1


NAMES = tuple(ALGORITHMS[alg].name.decode() for alg in range(ALG_HS256, ALG_EDDSA))
