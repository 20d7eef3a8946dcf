"""What a limit counts by: parts of a request, hashed to one key."""
from libc.stdint cimport uint8_t, uint32_t

from gw._fast.hash cimport Hash
from gw._fast.plane cimport Exchange


cdef enum:                      # SelectorPart.kind
    KEY_IP = 0                  # of the client, as forwarding fields of trusted proxies say
    KEY_ROUTE = 1
    KEY_SERVICE = 2
    KEY_HOST = 3
    KEY_PATH = 4                # normalised, without query
    KEY_HEADER = 5
    KEY_COOKIE = 6
    KEY_QUERY = 7               # name and value percent-decoded
    KEY_CONSUMER = 8
    KEY_CREDENTIAL = 9
    KEY_CLAIM = 10

cdef enum:
    PARTS_MAX = 8


cdef struct SelectorPart:
    const char* name            # borrowed from the Selector; of a header in lower case
    uint32_t name_len
    uint8_t kind                # KEY_*
    uint8_t bits4               # prefix of an IPv4 address
    uint8_t bits6


# The key, under `seed`, of an exchange that was routed. False when a part is missing; the key is then that of all exchanges which lack the same parts. What was
# sent more than once is missing too: origins differ in which one they take, so that a client could choose whom it is counted as.
cdef bint selector_key(const SelectorPart* parts, uint32_t n, Exchange* x, Hash seed, Hash* key) noexcept nogil


# The key as text, for ledgers and people: values percent-encoded, `-` for one that is missing, a space between them. Different keys have different texts.
cdef str selector_text(const SelectorPart* parts, uint32_t n, Exchange* x)


cdef class Selector:
    cdef SelectorPart parts[8]
    cdef uint32_t n
    cdef list names             # owned: text of parts
