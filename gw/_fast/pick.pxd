"""Which endpoint an exchange goes to."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from gw._fast.shm cimport EndpointState


cdef enum:                      # Picker.mode
    PICK_ROUND_ROBIN = 0        # smooth weighted round robin: shares follow the weights, and turns are spread out
    PICK_LEAST_REQUEST = 1      # equal weights: the less busy of two chosen at random; unequal ones: round robin, unless a random other one is freer by its weight


cdef struct Choice:             # one endpoint as the picker sees it
    EndpointState* state        # borrowed from the shared segment
    uint32_t weight             # 0: never picked
    int64_t current             # round robin: credit; the sum over all choices is 0


cdef struct Picker:             # one service in one worker
    Choice* choices             # borrowed from whoever called picker_init; n of them
    uint32_t n
    uint8_t mode
    uint8_t equal               # 1: all weights are the same and not 0
    uint64_t seed               # xorshift state, never 0


cdef void picker_init(Picker* p, Choice* choices, uint32_t n, uint32_t mode, uint64_t seed) noexcept nogil   # choices have state and weight set

# The index of an endpoint that is not marked in `tried` and, as long as there is one, not down; otherwise of the untried one that comes back
# first. -1: every endpoint with a weight is marked. Down is down_until_ms > now_ms.
cdef int32_t pick(Picker* p, int64_t now_ms, uint64_t tried) noexcept nogil


cdef inline uint64_t pick_bit(int32_t index) noexcept nogil:
    """The mark of an endpoint in `tried`. Beyond 64 endpoints, those 64 apart share one: a retry then skips a few it could have had, but never
    comes back to one that failed. An exchange is tried at most 11 times, so marks never run out."""
    return <uint64_t>1 << (index & 63)


cdef class Balancer:            # a picker over a segment's endpoints, for Python callers
    cdef Picker picker
    cdef Choice* choices        # owned
    cdef object segment         # owned: keeps the states alive
