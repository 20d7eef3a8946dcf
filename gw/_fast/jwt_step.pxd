"""The policy `jwt` on the data plane: find the token, check it, say who calls; wait for fresher keys where they may help."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from gw._fast.hash cimport Hash
from gw._fast.jwt cimport Rules, Text, TokenRules
from gw._fast.keys cimport KeySet, KeySetState
from gw._fast.plane cimport Edit, Exchange, Waiting
from gw._fast.step cimport Step
from gw._fast.token_cache cimport TokenCache


cdef enum:
    WAITING_MAX = 1024          # exchanges of one supply that wait for fresher keys
    WAIT_MS = 2000              # longest wait of each
    WANT_US = 50000             # between two calls for fresher keys
    MISSES = 256                # slots: what fresher keys did not help
    CLAIMS_MAX = 32             # claims that are told to the origin
    REFUSALS = 32               # TOKEN_E_* negated, then those of the step

cdef enum:                      # Source.kind
    FROM_AUTHORIZATION          # the credentials of the scheme Bearer
    FROM_FIELD
    FROM_COOKIE
    FROM_QUERY

cdef enum:                      # further refusals of the step, beside TOKEN_E_*
    E_NONE = -27                # no token
    E_TWICE = -28               # more than one
    E_FORM = -29                # the scheme is Bearer, and what follows is no token
    E_KEYS = -30                # no keys yet
    E_CONSUMER = -31            # a good token of nobody we know


cdef struct Source:
    Text name                   # of a field, in lower case; of a cookie or a parameter as it is
    uint8_t kind                # FROM_*


cdef struct Told:               # a claim that the origin is told
    Text path                   # as json_find takes it
    Text name                   # of the field


cdef struct Subject:            # value of the consumer's claim -> consumer
    Text value
    uint32_t consumer           # index in SnapshotState.consumers


cdef struct Caller:             # TokenEntry.extra: what a token says, ready for use; every text stands behind it in the same allocation
    int32_t consumer            # -1: none
    Text subject
    Text credential
    Text groups
    Text scopes
    uint32_t n_edits
    Edit* edits


cdef struct Refusal:
    uint8_t reason              # R_*
    const char* fields          # WWW-Authenticate, as a line
    uint32_t fields_len


cdef struct Supply:             # keys, and who waits for fresher ones; owned by a KeySupply
    KeySetState* keys           # borrowed from KeySupply.keys; NULL before there are any
    bint followed               # they are replaced when the issuer has others
    Waiting waiting             # for fresher keys
    int64_t began_us            # monotonic, when the request began that brought these keys
    int64_t allowed_us          # monotonic, from when on fresher ones may be had
    int64_t keep_us             # how long a miss is remembered
    int64_t wanted_us           # when they were last called for
    Hash seed
    uint64_t misses[256]        # tokens or headers that fresher keys did not help, by hash; 0: free
    int64_t missed_us[256]
    void* owner                 # borrowed: the KeySupply


cdef struct Jwt:                # owned by a JwtStep, and so is every pointer in it
    Supply* supply              # borrowed from the KeySupply, which the step keeps
    const Rules* rules
    Source* sources
    uint32_t n_sources
    Told* told
    uint32_t n_told
    Subject* subjects           # in the order of _compare
    uint32_t n_subjects
    Text groups_claim           # empty: none
    Text consumer_claim
    bint consumer_required
    bint hide
    uint32_t cache_entries      # 0: no cache
    uint64_t cache_octets
    TokenCache cache            # made when the first token comes
    Refusal refusals[32]
    const char* method          # name of the policy
    uint32_t method_len
    int code                    # what the last token came to, for `told`


cdef class KeySupply:
    cdef Supply supply
    cdef readonly KeySet keys
    cdef str source             # its key; empty: the keys are the operator's own
    cdef object report
    cdef object __weakref__
    cdef _set(self, KeySet keys)
    cdef _call_for(self)


cdef class JwtStep(Step):
    cdef Jwt jwt
    cdef KeySupply supply
    cdef TokenRules rules
    cdef list held              # octets that the Texts point to
    cdef Text _text(self, str text)
    cdef _list_sources(self, sources)
    cdef _list_claims(self, claims)
    cdef _list_subjects(self, subjects)
    cdef _list_refusals(self, str realm, str scopes)
    cdef str _said(self, Exchange* x)
