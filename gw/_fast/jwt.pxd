"""Bearer tokens in JWS compact form (RFC 7515, RFC 7519), checked as RFC 8725 asks. docs/threat-model.md says what is refused."""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from gw._fast.claims cimport DATE_MAX, Members, Value
from gw._fast.keys cimport KeySetState


cdef enum:                      # verdicts, one per cause; token_reason() has the words
    TOKEN_OK = 0
    TOKEN_E_TOO_LARGE = -1      # more than Rules.max_bytes
    TOKEN_E_MALFORMED = -2      # not three parts
    TOKEN_E_BASE64 = -3         # a part is not base64url as RFC 7515 section 2 has it
    TOKEN_E_HEADER = -4         # the header is not a JSON object, or a parameter has the wrong type
    TOKEN_E_PAYLOAD = -5        # the payload is not a JSON object
    TOKEN_E_UTF8 = -6
    TOKEN_E_DEPTH = -7
    TOKEN_E_DUPLICATE = -8
    TOKEN_E_MEMBERS = -9
    TOKEN_E_CRIT = -10
    TOKEN_E_UNENCODED = -11     # b64 other than true (RFC 7797)
    TOKEN_E_ZIP = -12
    TOKEN_E_TYPE = -13          # typ is none of Rules.types
    TOKEN_E_ALGORITHM = -14     # unknown, `none`, or not that of the key
    TOKEN_E_UNKNOWN_KID = -15   # the one refusal that newer keys can cure
    TOKEN_E_NO_KID = -16        # without a kid too many keys would have to be tried
    TOKEN_E_SIGNATURE = -17
    TOKEN_E_CLAIM_TYPE = -18
    TOKEN_E_CLAIM_MISSING = -19
    TOKEN_E_EXPIRED = -20
    TOKEN_E_NOT_YET = -21       # nbf
    TOKEN_E_ISSUED_LATER = -22  # iat
    TOKEN_E_ISSUER = -23
    TOKEN_E_AUDIENCE = -24
    TOKEN_E_SCOPE = -25
    TOKEN_E_MEMORY = -26        # none left: nothing is known about the token


cdef struct Text:               # borrowed UTF-8
    const char* p
    uint32_t n


cdef struct Rules:              # borrowed by whoever checks; owned by a TokenRules
    const Text* issuers         # one of them, if there are any
    uint32_t n_issuers
    const Text* audiences       # one of them in `aud`, if there are any
    uint32_t n_audiences
    const Text* required        # claims that must be there and not null; json_find has the form of paths
    uint32_t n_required
    const Text* scopes          # all of them in `scope`, or in `scp` without it
    uint32_t n_scopes
    const Text* types           # one of them as `typ`, if there are any: lower case, without "application/"
    uint32_t n_types
    int64_t leeway_s            # >= 0; the clocks of issuer and gateway may differ by this much
    uint32_t max_bytes          # of a whole token
    bint require_exp
    uint64_t identity           # no two TokenRules of a process have the same


cdef struct TokenOut:
    char* payload               # owned: decoded, a JSON object with a NUL behind it; token_clear frees it
    uint32_t n                  # octets of it
    uint32_t key                # index in the KeySet of the key that verified it
    int64_t exp_s               # Unix seconds, rounded up: refused from exp_s + leeway on; DATE_MAX without `exp`
    int64_t nbf_s               # Unix seconds, rounded up: refused before nbf_s - leeway; -DATE_MAX without `nbf`
    Value claims                # the payload as a value, for json_find
    Value sub                   # inside payload; JSON_ABSENT when it is not there
    Value scope                 # `scope`, or `scp` without it: a string or an array of strings


# TOKEN_OK and `out`, or a TOKEN_E_*, and there is nothing to clear. wall_s: Unix seconds, rounded down.
cdef int token_check(const KeySetState* keys, const Rules* rules, const char* token, uint32_t n, int64_t wall_s, TokenOut* out) noexcept nogil
# Whether it is time for a token that was good once: TOKEN_OK, TOKEN_E_EXPIRED or TOKEN_E_NOT_YET.
cdef int token_time(const TokenOut* out, const Rules* rules, int64_t wall_s) noexcept nogil
cdef void token_clear(TokenOut* out) noexcept nogil
cdef const char* token_name(int code) noexcept nogil        # a word for metrics and logs: static, NUL-terminated
cdef const char* token_reason(int code) noexcept nogil      # a sentence, good for error_description (RFC 6750 section 3): static, NUL-terminated


cdef class TokenRules:
    cdef Rules rules
    cdef list kept              # the octets that the Texts point to
    cdef Text* texts            # owned: every list of rules, one behind the other
    cdef Text* _texts(self, list octets, uint32_t* n)


cdef dict token_dict(const TokenOut* out)           # the claims, for Python
cdef uint32_t octets_of(bytes token)                # its length; whatever is too large for all rules is one length
