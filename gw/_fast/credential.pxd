"""Steps that find out who calls from what a request carries: a key, or nothing at all."""
from libc.stdint cimport uint8_t, uint32_t

from gw._fast.api_keys cimport ApiKeysState


cdef enum:                      # Place.kind
    IN_HEADER = 0
    IN_AUTHORIZATION = 1        # behind a scheme (RFC 9110 section 11.4)
    IN_QUERY = 2                # name and value percent-decoded
    IN_COOKIE = 3


cdef struct Place:              # where a key may be
    const char* name            # of a header or scheme in lower case; borrowed from the step
    uint32_t name_len
    uint8_t kind                # IN_*


cdef struct KeyRule:            # all text is borrowed from the step
    Place* places               # owned array, in the order they are looked at
    uint32_t n_places
    ApiKeysState* keys          # borrowed from an ApiKeys that the step holds
    const char* method          # name of the policy
    uint32_t method_len
    const char* challenge       # field lines of a refusal
    uint32_t challenge_len
    uint8_t hide                # origins do not see the key
