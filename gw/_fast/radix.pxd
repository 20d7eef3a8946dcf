"""The route tree: hosts, then path segments, then predicates. Precedence is described in gw/router/table.py."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from gw._fast.headers cimport Span, Target
from gw._fast.predicate cimport Predicate
from gw._fast.regex cimport Program


cdef enum:
    ROUTE_NONE = -1             # no route takes the request
    ROUTE_METHOD = -2           # some route takes everything but the method
    MAX_PARAMS = 16             # parameters of one route
    MAX_SEGMENTS = 128          # segments of one route's path
    MAX_LABEL = 1024            # bytes of one literal segment, percent-decoded
    INLINE_LABEL = 32           # bytes of a literal segment that a node holds itself


cdef struct Match:
    int32_t route               # index of the winner as added, ROUTE_NONE or ROUTE_METHOD
    uint32_t prefix_len         # bytes of path that a prefix route took, never its trailing '/': what follows is empty or starts with '/'. Otherwise the whole path
    uint32_t n_params
    Span params[16]             # spans of Target.path, in the order the route names them (named groups of a regex included)


cdef struct Node:               # one path segment; 64 bytes, so that one step of a lookup touches one cache line
    uint32_t hash               # of the literal segments from the root to here
    uint32_t parent             # index of the node above, + 1; 0 = free slot
    int32_t param               # index of the child that takes any segment, or -1
    int32_t exact               # first candidate of the routes whose whole path ends here, or -1
    int32_t prefix              # the same of the prefix routes that end here
    int32_t below               # the same of the prefix routes that end here with a '/'
    uint32_t label              # offset into RouterState.text when the label is longer than INLINE_LABEL
    uint16_t label_len          # bytes
    uint8_t has_literals        # some child is a literal segment
    uint8_t pad
    uint64_t words[4]           # the label otherwise, percent-decoded, zeros after it


cdef struct Candidate:          # one route at one place
    uint64_t methods            # bit i = RouterState.methods[i]; 0 = any
    int32_t route
    uint32_t predicates         # first one in RouterState.predicates: headers, then query
    uint16_t n_headers
    uint16_t n_query
    uint32_t params             # first one in RouterState.params: numbers of the segments that are parameters
    uint8_t n_params
    uint8_t last                # no further candidate at this place


cdef struct Expression:         # the routes of one host and one regex
    const Program* program      # borrowed from the Regex of a route in Router.routes
    uint32_t candidate          # first one


cdef struct Tree:               # the routes of one host
    uint32_t host               # offset of the name in RouterState.text; ".example.com" for "*.example.com"
    uint32_t host_len           # 0 for the tree of any host
    uint32_t root               # node
    uint32_t expressions        # first one in RouterState.expressions
    uint32_t n_expressions


cdef struct Method:
    uint32_t name               # offset into RouterState.text
    uint32_t len


cdef struct RouterState:        # read only once frozen; every array is owned by Router
    Node* nodes                 # slots of the hash table first, then roots and parameter nodes
    uint32_t mask               # slots - 1; slots is a power of two
    uint32_t n_nodes            # whole array
    Tree* trees
    uint32_t n_trees
    uint32_t* hosts             # hash table of tree index + 1; 0 = free
    uint32_t hosts_mask
    int32_t any_host            # tree of routes without hosts, or -1
    uint32_t longest_wildcard   # bytes of the longest ".example.com"; 0 = there is none
    uint32_t n_exact_hosts
    Candidate* candidates       # those of one host and one path side by side, best first
    Predicate* predicates
    Expression* expressions
    uint16_t* params
    Method methods[64]          # names that routes use, in the order of an Allow field
    uint32_t n_methods
    char* text                  # names, values, long labels
    void* owner                 # borrowed: the Router, for traces


cdef class Router:              # immutable once frozen
    cdef RouterState* state     # owner: this object; freed in __dealloc__; NULL until frozen
    cdef readonly list routes   # what add() was given, in that order


# The best route for a target. trace is NULL in live traffic, otherwise a borrowed PyObject* to a callable that is called
# with the GIL as trace(route_index, reason) for every route that lost and, last, for the winner.
cdef void router_find(const RouterState* state, const Target* target, Match* match, void* trace) noexcept nogil

# "GET, HEAD": the methods of the routes that take everything else of the target. Returns the length; 0 when there is none.
cdef int router_allow(const RouterState* state, const Target* target, char* out, int cap) noexcept nogil
