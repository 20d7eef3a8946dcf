"""The nouns of the data plane and who owns what. No code: step, pool, exchange and lane share these."""
from cpython.object cimport PyObject
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from gw._fast.bucket cimport LimitOut
from gw._fast.h1 cimport Body, HeadParser, Message
from gw._fast.recall cimport Recall
from gw._fast.headers cimport Head, Span
from gw._fast.logbuf cimport LogBuf
from gw._fast.pick cimport Picker
from gw._fast.radix cimport Match, RouterState
from gw._fast.shm cimport EndpointShare, EndpointState, RouteStats, WorkerStats
from gw._fast.slab cimport Buf
from gw._fast.stream cimport Conn, Reactor
from gw._fast.uv cimport Guest

cdef extern from "sys/socket.h" nogil:
    ctypedef uint32_t socklen_t
    struct sockaddr:
        unsigned short sa_family
    struct sockaddr_storage:
        unsigned short ss_family


cdef enum:
    ADDRESSES_MAX = 16          # addresses kept of one named endpoint
    HOST_MAX = 255              # bytes of a host name (RFC 1035 section 2.3.4)
    ID_MAX = 64                 # bytes of a request id
    PATH_INLINE = 480           # normalised paths up to this length need no buffer

cdef enum:                      # Conn.state of a client
    C_IDLE = 0                  # between exchanges, no buffer
    C_PROXY = 1                 # a PROXY protocol header is due
    C_HANDSHAKE = 2
    C_HEAD = 3                  # part of a head was read
    C_BUSY = 4                  # an exchange runs
    C_FLUSH = 5                 # the last answer leaves, then it closes
    C_LINGER = 6                # we have shut; unread bytes are drained so that the answer is not lost to a reset
    C_TUNNEL = 7

cdef enum:                      # Conn.state of an origin connection
    O_CONNECT = 0
    O_HANDSHAKE = 1
    O_BUSY = 2
    O_IDLE = 3
    O_TUNNEL = 4

cdef enum:                      # Plan.action
    ACT_FORWARD = 0
    ACT_REDIRECT = 1
    ACT_RESPOND = 2

cdef enum:                      # Plan.host_mode
    HOST_PRESERVE = 0
    HOST_ENDPOINT = 1
    HOST_LITERAL = 2

cdef enum:                      # Part.kind of a template
    PART_TEXT = 0
    PART_PARAM = 1
    PART_REST = 2
    PART_SCHEME = 3
    PART_HOST = 4
    PART_PATH = 5
    PART_QUERY = 6              # with its '?', or nothing

cdef enum:                      # Exchange.flags
    X_HEAD_REQUEST = 1          # method is HEAD
    X_IDEMPOTENT = 2            # RFC 9110 section 9.2.2
    X_SENT = 4                  # the request's head went to the origin connection
    X_PARKED = 8                # waits for an asynchronous hook
    X_ANSWERED = 16             # the final head went to the client
    X_UP_DROPPED = 32           # body bytes were handed on and not kept: cannot be sent again
    X_UP_BROKEN = 64            # the origin takes no more of the body
    X_CHUNK_OUT = 128           # the answer leaves chunked
    X_EOF_OUT = 256             # the answer ends with the connection
    X_CLOSE = 512               # the client's connection closes after this
    X_UPGRADE = 1024            # an upgrade was forwarded
    X_TUNNEL = 2048
    X_DONE_UP = 4096            # the request left whole
    X_CONNECT = 8192            # method is CONNECT
    X_FRESH = 16384             # the next try takes a new connection
    X_PARKED_DOWN = 32768       # as X_PARKED, in a response step
    X_HEAD_TIMED = 65536        # the head's deadline is set
    X_ENDED = 131072
    X_RESPONDING = 262144       # response steps have begun; `step` is the next of them
    X_GATHER = 524288           # the request's body is gathered
    X_GATHER_DOWN = 1048576     # the answer's is
    X_WATCHED = 2097152         # steps look at what goes to an endpoint
    X_KEPT = 4194304            # the request's body leaves from where it is kept
    X_KEPT_DOWN = 8388608       # the answer's does
    X_UP_LEFT = 16777216        # some of a kept request has not left yet

cdef enum:                      # what a step answers
    STEP_NEXT = 0
    STEP_ANSWER = 1             # the exchange's answer is set (x.own); no further request step runs. Of a response step: it failed, x.own.reason says how
    STEP_PARK = 2               # LaneState.resume will be called

cdef enum:                      # Edit.op
    EDIT_SET = 0                # removes every field of the name, then adds
    EDIT_ADD = 1
    EDIT_REMOVE = 2
    EDIT_DEFAULT = 3            # adds when the message has none


ctypedef int (*StepFunction)(void* self, Exchange* x) noexcept nogil


cdef struct StepCall:
    StepFunction run
    void* self                  # borrowed from the Step object, which the snapshot keeps alive
    uint16_t then_step          # request steps: where STEP_NEXT goes on, 0 = the next one (alternatives that are no longer needed)
    uint16_t else_step          # and where STEP_ANSWER goes on instead of answering, 0 = it answers (the next alternative)


cdef struct Watch:              # what a step wants of an exchange behind the request steps; owned by it
    StepCall request_body       # with the whole body, before an endpoint is chosen; run is NULL where the step has nothing to do
    StepCall origin_request     # before a head goes to an endpoint, for each try
    StepCall response_body      # with the answer's whole body, before its head leaves
    uint64_t limit              # bytes of a body that it takes


cdef struct Kept:               # a body that is kept whole
    char* data                  # owned, n of cap bytes; inside `text` once that is there
    size_t n
    size_t cap                  # bytes written down in slab.held
    size_t sent                 # bytes handed on
    uint64_t limit              # bytes, the least of all that watch and of the route
    PyObject* text              # owned: the same as Python bytes; NULL until a hook asked
    uint32_t at                 # hold of the step that is due
    uint8_t whole
    uint8_t replaced


cdef struct Was:                # of an edit, before an endpoint's head took it in
    uint32_t name_len
    uint8_t op


cdef struct Bodies:             # of an exchange that steps watch; owned by it, in whose holds their Watches stand
    Kept up
    Kept down
    Was* was                    # owned, was_bytes: the edits before the first try, and behind them the flags of the head's fields; NULL until then
    uint32_t n_was
    uint32_t was_bytes


cdef struct Steps:              # arrays owned by the snapshot
    uint32_t n_request
    uint32_t n_response
    uint32_t n_done
    StepCall* on_request        # in the order they are configured
    StepCall* on_response       # in reverse order
    StepCall* on_done


cdef struct Consumer:           # a known caller; owned by the snapshot. One cache line: there may be many, and each request may be another's
    const char* name
    const char* groups          # comma-separated
    Steps* steps                # its own policies: they run behind the plan's. The snapshot's empty ones for a consumer without
    uint32_t name_len
    uint32_t groups_len
    uint32_t index
    char pad[28]


cdef struct Identity:           # who calls, as an authentication step found; text lives until the exchange ends
    const Consumer* consumer    # NULL: none known
    const char* method          # name of the policy that proved it, NULL: nobody did; owned by the step
    const char* subject         # what the credential names: a claim `sub`, a user, the name of a certificate
    const char* credential      # id of the credential: a key's prefix, a kid
    const char* groups          # beside the consumer's, comma-separated
    const char* scopes          # space-separated (RFC 6749 section 3.3)
    const char* claims          # a JSON object; NULL: none
    uint32_t method_len
    uint32_t subject_len
    uint32_t credential_len
    uint32_t groups_len
    uint32_t scopes_len
    uint32_t claims_len
    uint8_t presented           # the request carries a credential, good or bad: it is not anonymous
    void* held                  # what owns the text; given back when the exchange ends
    void (*release)(void* held) noexcept nogil


cdef struct Edit:               # one change of a head; text is owned by a Step or by the exchange's arena
    const char* name
    const char* value
    uint32_t name_len
    uint32_t value_len
    uint8_t op


cdef struct Edits:              # a list that grows; owned by the exchange
    Edit* items
    uint32_t n
    uint32_t cap


cdef struct Hold:               # what a step counted for an exchange and takes back when that ends, in whatever way
    void (*give_back)(Exchange* x, const Hold* hold) noexcept nogil
    void* owner                 # borrowed from the Step
    int64_t what                # the owner's


cdef struct Holds:              # a list that grows; owned by the exchange
    Hold* items
    uint32_t n
    uint32_t cap


cdef struct Part:
    const char* text            # borrowed from the snapshot
    uint32_t len
    uint16_t param              # index into Match.params
    uint8_t kind


cdef struct Template:
    Part* parts                 # owned by the snapshot; NULL when there is no template
    uint32_t n


cdef struct Pool:               # connections to one endpoint; owned by the lane, outlives snapshots
    Conn* idle                  # last in, first out
    uint32_t n_idle
    uint32_t n_open
    uint32_t max_idle
    uint32_t max_open           # 0: no limit
    int64_t idle_ms
    uint32_t n_addresses        # 0: the name has not been resolved
    uint32_t next_address
    sockaddr_storage addresses[16]
    socklen_t address_len[16]
    void* tls                   # borrowed SSL_CTX of tls_owner; NULL: plain
    PyObject* tls_owner         # owned reference
    char tls_name[256]          # SNI and verification
    char host[264]              # Host for HOST_ENDPOINT
    uint32_t host_len
    uint8_t proxy_out           # PROXY protocol version sent on new connections, 0 none
    EndpointState* state        # shared segment
    EndpointShare* share        # this worker's part of it
    Recall recall               # of this endpoint's answers
    Reactor* reactor
    Pool* next                  # list of the lane
    char key[320]               # address text as configured, for logs; escaped for JSON
    uint32_t key_len
    uint32_t users              # snapshots that name it


cdef struct Service:
    const char* name            # borrowed from the snapshot, JSON-escaped
    uint32_t name_len
    Picker picker
    Pool** pools                # n_pools; the array is owned by the snapshot, the pools by the lane
    uint32_t n_pools
    uint32_t retries
    uint32_t fails              # passive marking
    int64_t eject_ms
    int64_t retry_tokens        # thousandths of a retry: every request adds 200, a retry takes 1000
    uint8_t host_mode
    const char* host_text
    uint32_t host_len


cdef struct Allowance:          # what an exchange may take: a route's, or less where a policy says so
    uint64_t max_body           # bytes of the request's body; 0: no limit
    int64_t connect_ms
    int64_t answer_ms
    int64_t idle_ms


cdef struct Plan:
    uint8_t action
    uint8_t host_mode
    uint8_t strip_prefix
    uint8_t n_upgrades
    Service* service            # NULL unless ACT_FORWARD
    const char* host_text
    uint32_t host_len
    const char* name            # JSON-escaped
    uint32_t name_len
    Steps steps
    Template rewrite            # path towards the origin
    Template redirect
    uint16_t status             # ACT_REDIRECT, ACT_RESPOND
    const char* fields          # ACT_RESPOND: field lines, ready
    uint32_t fields_len
    const char* body
    uint32_t body_len
    Allowance allowance
    int64_t tunnel_ms
    Span upgrades[8]            # lower-case protocol names, offsets into upgrade_text
    const char* upgrade_text
    RouteStats* stats           # this worker's, in the shared segment


cdef struct Cidr:
    uint8_t bytes[16]           # network order; IPv4 mapped into IPv6
    uint8_t bits                # 0 .. 128


cdef struct SnapshotState:
    uint32_t users              # exchanges and tunnels that run on it
    uint32_t revision
    const RouterState* router
    Plan* plans
    uint32_t n_plans
    Service* services
    uint32_t n_services
    Consumer* consumers
    uint32_t n_consumers
    Plan nowhere                # what an exchange without a route counts under
    # client side
    uint32_t max_head
    uint32_t max_line
    uint32_t max_fields
    uint32_t max_requests
    int64_t head_ms
    int64_t keep_alive_ms
    int64_t linger_ms
    int64_t hook_ms             # longest wait of a parked exchange
    uint32_t path_flags
    # forwarding fields
    uint8_t x_forwarded
    uint8_t forwarded
    uint8_t via
    uint8_t log
    char id_name[64]            # field that carries the request id; empty: none
    char id_lower[64]
    uint32_t id_name_len
    Cidr* trusted
    uint32_t n_trusted
    PyObject* owner             # borrowed: the Snapshot object


cdef struct Listener:
    Conn* conn                  # owned by the reactor
    int fd
    uint32_t index
    uint32_t n_conns
    uint32_t max_conns          # 0: no limit of its own
    uint8_t is_unix
    uint8_t proxy_in
    uint8_t closed
    void* tls                   # borrowed SSL_CTX of tls_owner
    PyObject* tls_owner         # owned reference
    Listener* next


cdef struct Answer:             # what gw says itself
    uint16_t status
    uint8_t reason              # R_*
    const char* fields          # further field lines; borrowed until the exchange ends
    uint32_t fields_len
    const char* body
    uint32_t body_len
    uint8_t by_hook             # not a problem document: fields and body as given


cdef struct Place:              # of an exchange in a queue
    Waiting* line               # the ring that it is on, with the other keys whose hash is like its own; owned by the step
    LimitOut taken              # what was booked for it
    int64_t due_us              # when its turn comes


cdef struct Park:               # the wait of an exchange that a compiled request step has parked: a link of the ring that the step keeps
    Park* next
    Park* prev
    Exchange* x
    int64_t since_us
    int64_t wait_ms             # longest wait
    # Set by the step, cleared by it when it takes the exchange off its ring. `ended`: the exchange is no more, else it has waited
    # long enough, and the step resumes it.
    void (*leave)(Exchange* x, bint ended) noexcept nogil
    Place place                 # of who waits in a queue


cdef struct Waiting:            # exchanges that a step has parked, in the order they came; owned by it
    Park ring                   # its head
    uint32_t n


cdef struct Exchange:
    LaneState* lane
    SnapshotState* snapshot     # counted in snapshot.users
    Plan* plan
    const Allowance* allowance  # the plan's, or `lowered`
    Conn* client                # owns us while C_HEAD, C_BUSY, C_TUNNEL
    Conn* origin                # ours until it goes back to its pool
    Exchange* next              # free list
    int64_t started_us          # first byte of the request
    int64_t sent_us             # request's head handed to the origin
    int64_t answered_us         # head of the answer
    int64_t connect_us          # duration
    uint32_t flags
    uint32_t step               # next request step, or response step while X_RESPONDING
    uint16_t status
    uint8_t by                  # BY_*
    uint8_t reason
    uint8_t attempts            # endpoints tried
    uint8_t addresses           # of the endpoint's addresses: tried without success
    uint8_t detail              # errno or fault for the log
    int16_t path_code           # PATH_E_* when the path was refused
    int16_t choice              # endpoint picked, -1
    uint64_t tried
    uint64_t bytes_in           # body bytes from the client
    uint64_t bytes_out          # body bytes to the client
    HeadParser parser
    Message request
    Message answer
    Body up
    Body down
    Match match
    const char* path            # normalised
    uint32_t path_len
    Span port                   # in head.base: ":8080" as sent, or empty
    Span query                  # in head.base, without '?'; len 0 when there is none
    uint8_t has_query
    uint8_t secure              # the client's connection is TLS
    uint8_t junk                # the origin sent more than its answer
    uint8_t dry_reason          # R_*: a policy in dry_run would have refused it
    uint32_t host_len
    uint32_t id_len
    uint32_t target_len
    const char* challenges      # field lines of alternatives that refused, in the arena; they go with the refusal of the last one
    uint32_t challenges_len
    uint8_t better_reason       # R_*: of an alternative that was given a credential; R_NONE: none was
    const char* target          # path and query towards the origin as a policy rewrote them, in the arena; NULL: as the plan says
    Buf* path_buf               # owned, when the path is longer than PATH_INLINE
    Buf* trailers               # owned, TRAILER_MAX bytes for each direction
    Bodies* bodies              # owned; NULL: nothing is watched
    Buf* answer_buf             # owned: bytes of an answer's head that came in pieces, or that a parked hook must see
    Edits origin_edits
    Edits client_edits
    Holds holds
    char* arena                 # owned: text of edits and answers
    uint32_t arena_used
    uint32_t arena_cap
    Answer own
    Identity identity
    PyObject* view              # owned: the Python view of this exchange, if a hook asked
    PyObject* parked            # owned: what waits for the task of an asynchronous hook
    StepCall* parked_at         # the request step that waits
    Park park                   # of a compiled step; `leave` is NULL when none has parked it
    void* view_of               # borrowed: the Inquiry that asks, offline
    char id[64]
    char host[256]              # lower case, no port
    char path_inline[484]
    HeadParser answer_parser
    Allowance lowered           # meant when `allowance` points to it
    Head head                   # last: most of their fields are never touched
    Head answer_head


cdef enum:                      # Exchange.by: who made the answer
    BY_NOBODY = 0
    BY_ORIGIN = 1
    BY_GATEWAY = 2
    BY_CLIENT = 3               # it went away


cdef struct LaneState:
    Reactor reactor
    Guest* guest                # owned: our place in uvloop; NULL: none
    Conn* loop                  # owned: a duplicate of uvloop's descriptor in our set
    uint8_t retired             # snapshots wait for their last exchange
    SnapshotState* snapshot     # what new exchanges use; counted
    WorkerStats* stats
    uint32_t worker             # slot of this process
    LogBuf* log                 # NULL: no access log
    Listener* listeners         # owned
    Pool* pools                 # owned
    Conn clients                # ring head of client connections
    Exchange* spare             # free list
    uint32_t n_spare
    uint32_t n_exchanges        # open, tunnels included
    uint32_t n_clients
    uint64_t id_state[2]        # request ids
    int64_t log_since_ms        # age of the oldest line not yet written
    int64_t log_flush_ms
    int64_t swept_ms            # 0: a sweep follows the batch
    uint8_t draining
    uint8_t shedding
    uint8_t alarm               # ALARM_* of the slab since the last sweep
    uint8_t paused              # out of descriptors: accepting stops until one is free
    int64_t paused_ms
    int64_t relieved_ms         # when memory was last let go of because it was short
    int64_t hook_warn_us
    void (*resume)(Exchange* x, int verdict) noexcept nogil   # set by the lane: a parked exchange goes on
    void (*release_python)(Exchange* x) noexcept nogil   # set by the lane: gives back view and parked, cancels the task
    void (*tunnel_ended)(Exchange* x) noexcept nogil     # set by exchange: both sides of a tunnel are done
    PyObject* owner             # borrowed: the Lane object
