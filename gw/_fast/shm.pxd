"""One shared mapping for all processes of a group: counters, histograms, endpoint state, cells of limits. No locks.

Made by the supervisor before it forks; workers inherit it at the same address. Four kinds of data:
- WorkerStats (but for its marks), RouteStats, PolicyStats, EndpointShare, LoadStats have one writer, the worker whose index they carry, which uses plain stores. Whoever scrapes
  reads words that may be a few nanoseconds apart.
- EndpointState is written by every worker, through the endpoint_* functions only (relaxed atomics).
- Slot directories are written by whoever meets a key first (compare-and-swap); a slot is never given back.
- Cells of limits are written by every worker, through gw._fast.bucket only.

Pointers that shm_* return are borrowed from the Segment: keep a reference to it for as long as they are used.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from gw._fast.hash cimport Hash
from gw._fast.hist cimport Hist

cdef extern from *:
    """
    #ifndef GW_ATOMICS
    #define GW_ATOMICS
    #include <stdint.h>
    static inline int32_t gw_load_i32(const int32_t* p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    static inline int64_t gw_load_i64(const int64_t* p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    static inline uint64_t gw_load_u64(const uint64_t* p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    static inline void gw_store_i32(int32_t* p, int32_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
    static inline void gw_store_i64(int64_t* p, int64_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
    static inline void gw_store_u64(uint64_t* p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
    static inline int32_t gw_add_i32(int32_t* p, int32_t v) { return __atomic_add_fetch(p, v, __ATOMIC_RELAXED); }
    static inline uint64_t gw_add_u64(uint64_t* p, uint64_t v) { return __atomic_add_fetch(p, v, __ATOMIC_RELAXED); }
    static inline uint64_t gw_claim_u64(uint64_t* p, uint64_t v) {
        uint64_t seen = 0;
        __atomic_compare_exchange_n(p, &seen, v, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
        return seen;
    }
    #endif
    """
    int32_t atomic_load_i32 "gw_load_i32"(const int32_t* p) noexcept nogil
    int64_t atomic_load_i64 "gw_load_i64"(const int64_t* p) noexcept nogil
    uint64_t atomic_load_u64 "gw_load_u64"(const uint64_t* p) noexcept nogil
    void atomic_store_i32 "gw_store_i32"(int32_t* p, int32_t v) noexcept nogil
    void atomic_store_i64 "gw_store_i64"(int64_t* p, int64_t v) noexcept nogil
    void atomic_store_u64 "gw_store_u64"(uint64_t* p, uint64_t v) noexcept nogil
    int32_t atomic_add_i32 "gw_add_i32"(int32_t* p, int32_t v) noexcept nogil        # the new value
    uint64_t atomic_add_u64 "gw_add_u64"(uint64_t* p, uint64_t v) noexcept nogil     # the new value
    uint64_t atomic_claim_u64 "gw_claim_u64"(uint64_t* p, uint64_t v) noexcept nogil  # 0 -> v; what was there before: 0 when it is ours now


cdef enum:
    REASONS_MAX = 64                # gw.errors.REASONS must fit
    STATUS_CLASSES = 6              # index: status // 100; 0 counts exchanges that ended without a status
    POLICIES_MAX = 256              # names of policies with Python hooks
    SET_CELLS = 31                  # with its claim a set of cells is 512 bytes


cdef struct RouteStats:             # one route in one worker; 64-bit words only (Segment.route_totals adds them up as such)
    uint64_t requests[6]            # exchanges that ended, by class of the status sent to the client: requests[status // 100]
    uint64_t bytes_in               # body bytes from clients
    uint64_t bytes_out              # body bytes to clients; the first 64 bytes end here: one cache line for the counters of every request
    uint64_t by_gateway             # of the requests: answered by gw itself
    uint64_t retries                # further endpoints tried
    uint64_t upgrades               # 101 passed to the client
    uint64_t client_closed          # the client went away before the end of its answer
    Hist latency                    # first byte of the request to last byte of the answer, us; tunnels until their 101
    Hist origin                     # request's head sent to head of the answer, us; forwarded exchanges only
    uint64_t by_reason[64]          # index into gw.errors.REASONS


cdef enum:                          # phases of a policy, in the order of life; their names are PHASES
    ON_REQUEST = 0
    ON_REQUEST_BODY = 1
    ON_ORIGIN_REQUEST = 2
    ON_RESPONSE = 3
    ON_RESPONSE_BODY = 4
    ON_DONE = 5


cdef struct PolicyStats:            # Python hooks of one policy in one worker; 64-bit words only
    Hist phases[6]                  # time a call, or a turn of an asynchronous hook, held the worker up, us; in the order of life
    uint64_t over                   # of them: longer than the policy's budget
    uint64_t skipped                # calls not made, because it was quarantined
    uint64_t quarantined            # the revision that goes on without it; 0: none
    uint64_t window_calls           # of the window that runs: calls,
    uint64_t window_over            # and those over the budget


cdef struct LoadStats:              # what the policy load-shed knows of one service in one worker; gauges: zeroed by Segment.reset_gauges
    double limit                    # exchanges that it lets through at once
    uint64_t inflight


cdef struct WorkerStats:            # one worker slot; 64-bit words only. A worker that takes the slot of a dead one goes on counting
    # gauges: zeroed by Segment.reset_gauges when the worker died
    uint64_t revision               # in force for new requests
    uint64_t heartbeat_ms           # CLOCK_MONOTONIC, last time the lane looked around
    uint64_t connections            # client connections, idle ones included
    uint64_t exchanges              # requests in flight, tunnels not included
    uint64_t tunnels
    uint64_t origins                # connections to endpoints, idle ones included
    uint64_t idle_origins
    uint64_t accept_paused          # 1: out of descriptors, not accepting
    uint64_t shedding               # 1: near its memory limit, refusing new work
    uint64_t buffer_bytes           # held by connections and queues
    uint64_t memory_bytes           # held by the lane: Slab.held
    # counters
    uint64_t accepted               # client connections
    uint64_t requests
    uint64_t parse_errors           # heads or bodies that are not HTTP/1.1
    uint64_t accept_pauses
    uint64_t refused                # connections closed at once: over a limit, or no memory
    uint64_t timeouts               # client connections closed by a time-out of the head, the body or keep-alive
    uint64_t tls_handshakes         # finished, client side
    uint64_t tls_failures           # client side
    uint64_t hook_calls             # Python hooks run
    uint64_t hook_errors            # hooks that raised
    uint64_t hook_slow              # hooks that blocked longer than process.hook_warn
    uint64_t log_lines              # access-log lines taken
    uint64_t log_dropped            # access-log lines lost
    uint64_t drains                 # runs of the lane
    uint64_t sheds                  # times it began to refuse new work because memory is short
    uint64_t dry_refusals           # requests that a policy in dry_run would have refused
    # set by the supervisor; UINT64_MAX: none
    uint64_t memory_ask             # memory_bytes beyond which the lane asks for a look at the memory there is
    uint64_t memory_most            # memory_bytes that the lane never passes


cdef struct EndpointState:          # shared by all workers; 64 bytes
    int64_t down_until_ms           # CLOCK_MONOTONIC; 0: up
    int32_t fails                   # failures in a row, not counted beyond the limit
    int32_t inflight                # exchanges on it now, in all workers
    uint64_t failures               # ever
    uint64_t connects               # connections opened, ever
    uint64_t ejections              # times it went from up to down
    uint64_t spare[3]               # keeps an endpoint on a cache line of its own


cdef struct EndpointShare:          # one worker's part of an endpoint, so that what a killed worker held can be given back
    int64_t inflight
    uint64_t requests               # ever


cdef struct Cell:                   # of a slot directory; claimed hash first, then check; both are 0 while free
    uint64_t hash
    uint64_t check                  # a second hash: two keys share a cell only when both agree


cdef struct Directory:
    Cell* cells                     # in the mapping, `size` of them; the index of a cell is the slot
    uint64_t* used                  # in the mapping
    uint32_t size


cdef struct LimitCell:              # 16 bytes, aligned to 16; the two words change together. gw._fast.bucket says what they mean
    uint64_t tag
    int64_t value


cdef struct LimitSet:               # a key has its cell in one set or nowhere
    LimitCell claim                 # which cell is being filled for whom
    LimitCell cells[31]


cdef struct LimitTable:             # pointers into the mapping, borrowed from the Segment
    LimitSet* sets                  # n_sets, a power of two; 0: no limits can be kept
    uint64_t* shares                # [worker][set * 32 + 1 + cell]: what a worker has in flight; written by that worker, and by the supervisor once it is dead
    uint64_t* claims                # cells ever claimed
    uint64_t* full                  # times no cell was to be had
    uint32_t n_sets
    uint32_t n_workers
    Hash seed                       # random, the same in all processes of the group


cdef class Segment:
    cdef char* base                 # owned: the mapping
    cdef size_t length              # bytes mapped (virtual; pages are taken when touched)
    cdef readonly int worker_count
    cdef WorkerStats* workers_at    # this and what follows point into the mapping
    cdef size_t worker_stride
    cdef Directory routes
    cdef Directory endpoints
    cdef Directory policies
    cdef Directory loads
    cdef EndpointState* states
    cdef EndpointShare* shares      # [worker][endpoint]
    cdef LimitTable limits
    cdef char* stats                # RouteStats [worker][route], each worker's on pages of their own
    cdef size_t stats_stride        # bytes per worker
    cdef size_t route_stride        # bytes per route
    cdef char* policies_at          # PolicyStats [worker][policy], each worker's on pages of their own
    cdef size_t policies_stride     # bytes per worker
    cdef char* loads_at             # LoadStats [worker][load], each worker's on lines of their own
    cdef size_t loads_stride        # bytes per worker
    cdef size_t page                # bytes
    cdef uint8_t* seen              # owned, of this process: [worker][route], 1 once that RouteStats was found to be in memory
    cdef int _check_worker(self, int worker) except -1
    cdef int _check_route(self, int worker, int slot) except -1
    cdef int _check_endpoint(self, int worker, int slot) except -1
    cdef int _check_policy(self, int worker, int slot) except -1
    cdef bint _in_memory(self, int worker, int slot) noexcept


# Index checks are the caller's: 0 <= worker < worker_count, slot as returned by route_slot, endpoint_slot, policy_slot and load_slot.
cdef RouteStats* shm_route(Segment s, int worker, int slot) noexcept nogil
cdef WorkerStats* shm_worker(Segment s, int worker) noexcept nogil
cdef PolicyStats* shm_policy(Segment s, int worker, int slot) noexcept nogil
cdef LoadStats* shm_load(Segment s, int worker, int slot) noexcept nogil
cdef EndpointState* shm_endpoint(Segment s, int slot) noexcept nogil
cdef EndpointShare* shm_share(Segment s, int worker, int slot) noexcept nogil

# An exchange goes to an endpoint, and is over (either way). Every begin has one end.
cdef void endpoint_begin(EndpointState* state, EndpointShare* share) noexcept nogil
cdef void endpoint_end(EndpointState* state, EndpointShare* share) noexcept nogil
cdef void endpoint_connected(EndpointState* state) noexcept nogil           # a connection was opened
# `fails_limit` failures in a row put it down for eject_ms; once down, the first failure after its return puts it down again. True when this call put it down.
cdef bint endpoint_failed(EndpointState* state, int64_t now_ms, int32_t fails_limit, int64_t eject_ms) noexcept nogil
cdef void endpoint_ok(EndpointState* state) noexcept nogil                  # it answered: up at once
cdef bint endpoint_down(EndpointState* state, int64_t now_ms) noexcept nogil
