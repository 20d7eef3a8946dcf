import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport UINT64_MAX
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_NORESERVE, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.unistd cimport _SC_PAGESIZE, sysconf

from gw._fast.hist cimport Hist, Histogram, hist_add

cdef extern from "sys/mman.h" nogil:
    int mincore(void* addr, size_t length, unsigned char* vec)

PHASES = ("request", "request_body", "origin_request", "response", "response_body", "done")

cdef enum: LINE = 64                        # bytes of a cache line


cdef inline size_t round_up(size_t n, size_t unit) noexcept nogil:
    return (n + unit - 1) // unit * unit


cdef inline uint64_t avalanche(uint64_t h) noexcept nogil:
    h ^= h >> 33
    h *= <uint64_t>0xff51afd7ed558ccd
    h ^= h >> 33
    h *= <uint64_t>0xc4ceb9fe1a85ec53
    return h ^ (h >> 33)


cdef Cell hash_key(const unsigned char* key, size_t n) noexcept nogil:
    # FNV-1a, and a rotating multiply that mixes differently: a collision of one tells nothing about the other.
    cdef uint64_t a = <uint64_t>0xcbf29ce484222325
    cdef uint64_t b = <uint64_t>0x9e3779b97f4a7c15 ^ n
    cdef Cell cell
    cdef size_t i
    for i in range(n):
        a = (a ^ key[i]) * <uint64_t>0x100000001b3
        b = (((b << 23) | (b >> 41)) + key[i] + 1) * <uint64_t>0xd6e8feb86659fd93
    cell.hash = avalanche(a)
    cell.check = avalanche(b)
    if cell.hash == 0:
        cell.hash = 1
    if cell.check == 0:
        cell.check = 1
    return cell


cdef int64_t claim(Directory* d, Cell key) noexcept nogil:
    # Cells never become free again, so every process meets the same cells in the same order and ends at the same one. Who dies between the
    # two claims leaves a cell without a check: the next key of that hash takes it.
    cdef uint32_t start = key.hash % d.size
    cdef uint32_t i, slot
    cdef uint64_t seen
    for i in range(d.size):
        slot = (start + i) % d.size
        seen = atomic_claim_u64(&d.cells[slot].hash, key.hash)
        if seen == 0:
            atomic_add_u64(d.used, 1)
        elif seen != key.hash:
            continue
        seen = atomic_claim_u64(&d.cells[slot].check, key.check)
        if seen == 0 or seen == key.check:
            return slot
    return -1


cdef int64_t find(const Directory* d, Cell key) noexcept nogil:
    cdef uint32_t start = key.hash % d.size
    cdef uint32_t i, slot
    cdef uint64_t hash
    for i in range(d.size):
        slot = (start + i) % d.size
        hash = atomic_load_u64(&d.cells[slot].hash)
        if hash == 0:
            return -1
        if hash == key.hash and atomic_load_u64(&d.cells[slot].check) == key.check:
            return slot
    return -1


cdef RouteStats* shm_route(Segment s, int worker, int slot) noexcept nogil:
    return <RouteStats*>(s.stats + worker * s.stats_stride + slot * s.route_stride)


cdef WorkerStats* shm_worker(Segment s, int worker) noexcept nogil:
    return <WorkerStats*>(<char*>s.workers_at + worker * s.worker_stride)


cdef PolicyStats* shm_policy(Segment s, int worker, int slot) noexcept nogil:
    return <PolicyStats*>(s.policies_at + worker * s.policies_stride) + slot


cdef LoadStats* shm_load(Segment s, int worker, int slot) noexcept nogil:
    return <LoadStats*>(s.loads_at + worker * s.loads_stride) + slot


cdef EndpointState* shm_endpoint(Segment s, int slot) noexcept nogil:
    return s.states + slot


cdef EndpointShare* shm_share(Segment s, int worker, int slot) noexcept nogil:
    return s.shares + <size_t>worker * s.endpoints.size + slot


cdef void endpoint_begin(EndpointState* state, EndpointShare* share) noexcept nogil:
    share.requests += 1
    share.inflight += 1
    atomic_add_i32(&state.inflight, 1)


cdef void endpoint_end(EndpointState* state, EndpointShare* share) noexcept nogil:
    share.inflight -= 1
    atomic_add_i32(&state.inflight, -1)


cdef void endpoint_connected(EndpointState* state) noexcept nogil:
    atomic_add_u64(&state.connects, 1)


cdef bint endpoint_failed(EndpointState* state, int64_t now_ms, int32_t fails_limit, int64_t eject_ms) noexcept nogil:
    cdef int32_t fails = atomic_load_i32(&state.fails)
    cdef bint was_down
    atomic_add_u64(&state.failures, 1)
    if fails < fails_limit:
        fails = atomic_add_i32(&state.fails, 1)
    if fails < fails_limit:
        return False
    was_down = endpoint_down(state, now_ms)
    atomic_store_i64(&state.down_until_ms, now_ms + eject_ms)
    if not was_down:
        atomic_add_u64(&state.ejections, 1)
    return not was_down


cdef void endpoint_ok(EndpointState* state) noexcept nogil:
    # Reads first: in the usual case the cache line stays shared between the workers.
    if atomic_load_i32(&state.fails) != 0:
        atomic_store_i32(&state.fails, 0)
    if atomic_load_i64(&state.down_until_ms) != 0:
        atomic_store_i64(&state.down_until_ms, 0)


cdef bint endpoint_down(EndpointState* state, int64_t now_ms) noexcept nogil:
    return atomic_load_i64(&state.down_until_ms) > now_ms


cdef object histogram(const Hist* h):
    cdef Histogram copy = Histogram()
    copy.h = h[0]
    return copy


cdef uint32_t sets_for(int cells) noexcept nogil:
    cdef uint32_t n = 1 if cells > 0 else 0
    while n * (SET_CELLS + 1) < <uint32_t>cells:
        n *= 2
    return n


cdef tuple field_names():
    cdef WorkerStats empty
    memset(&empty, 0, sizeof(WorkerStats))
    return tuple((<object>empty).keys())


WORKER_FIELDS = field_names()               # in the order of the words of WorkerStats
WORKER_GAUGES = WORKER_FIELDS[:WORKER_FIELDS.index("accepted")]


@cython.final
cdef class Segment:
    def __cinit__(self, int workers, int routes_max, int endpoints_max, int limit_cells=0):
        cdef size_t at = 0, cells_at, end_cells_at, states_at, shares_at, stats_at, sets_at, held_at, policy_cells_at, policies_at, load_cells_at, loads_at
        cdef int worker
        if workers < 1 or routes_max < 1 or endpoints_max < 1 or limit_cells < 0:
            raise ValueError("a segment has at least one worker, one route and one endpoint, and limit_cells is not negative")
        self.page = <size_t>sysconf(_SC_PAGESIZE)
        self.worker_count = workers
        self.worker_stride = round_up(sizeof(WorkerStats), LINE)
        self.route_stride = round_up(sizeof(RouteStats), LINE)
        self.stats_stride = round_up(self.route_stride * <size_t>routes_max, self.page)
        self.limits.n_sets = sets_for(limit_cells)
        self.limits.n_workers = workers
        self.policies_stride = round_up(sizeof(PolicyStats) * POLICIES_MAX, self.page)
        self.loads_stride = round_up(sizeof(LoadStats) * <size_t>endpoints_max, LINE)
        at = 5 * LINE                       # the four counters of used cells and those of limits, a line each
        cells_at = at + workers * self.worker_stride
        end_cells_at = cells_at + round_up(routes_max * sizeof(Cell), LINE)
        policy_cells_at = end_cells_at + round_up(endpoints_max * sizeof(Cell), LINE)
        load_cells_at = policy_cells_at + round_up(POLICIES_MAX * sizeof(Cell), LINE)
        loads_at = load_cells_at + round_up(endpoints_max * sizeof(Cell), LINE)
        states_at = loads_at + <size_t>workers * self.loads_stride
        shares_at = states_at + endpoints_max * sizeof(EndpointState)
        stats_at = round_up(shares_at + <size_t>workers * <size_t>endpoints_max * sizeof(EndpointShare), self.page)
        policies_at = stats_at + <size_t>workers * self.stats_stride
        sets_at = policies_at + <size_t>workers * self.policies_stride
        held_at = sets_at + self.limits.n_sets * sizeof(LimitSet)
        self.length = held_at + <size_t>workers * self.limits.n_sets * (SET_CELLS + 1) * sizeof(uint64_t)
        self.base = <char*>mmap(NULL, self.length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        if self.base == <char*>MAP_FAILED:
            self.base = NULL
            raise MemoryError(f"cannot reserve {self.length} bytes of address space for counters; lower process.routes_max, process.limit_cells or process.workers")
        self.seen = <uint8_t*>calloc(<size_t>workers * <size_t>routes_max, 1)
        if self.seen == NULL:
            raise MemoryError
        self.workers_at = <WorkerStats*>(self.base + at)
        self.routes = Directory(<Cell*>(self.base + cells_at), <uint64_t*>self.base, routes_max)
        self.endpoints = Directory(<Cell*>(self.base + end_cells_at), <uint64_t*>(self.base + LINE), endpoints_max)
        self.policies = Directory(<Cell*>(self.base + policy_cells_at), <uint64_t*>(self.base + 3 * LINE), POLICIES_MAX)
        self.loads = Directory(<Cell*>(self.base + load_cells_at), <uint64_t*>(self.base + 4 * LINE), endpoints_max)
        self.policies_at = self.base + policies_at
        self.loads_at = self.base + loads_at
        self.states = <EndpointState*>(self.base + states_at)
        self.shares = <EndpointShare*>(self.base + shares_at)
        self.stats = self.base + stats_at
        self.limits.sets = <LimitSet*>(self.base + sets_at)
        self.limits.shares = <uint64_t*>(self.base + held_at)
        self.limits.claims = <uint64_t*>(self.base + 2 * LINE)
        self.limits.full = self.limits.claims + 1
        memcpy(&self.limits.seed, PyBytes_AS_STRING(os.urandom(sizeof(Hash))), sizeof(Hash))
        for worker in range(workers):
            shm_worker(self, worker).memory_ask = UINT64_MAX
            shm_worker(self, worker).memory_most = UINT64_MAX

    def __dealloc__(self):
        if self.base != NULL:
            munmap(self.base, self.length)
        free(self.seen)

    def __repr__(self):
        return f"<Segment: {self.worker_count} workers, {self.routes.used[0]}/{self.routes.size} routes, {self.endpoints.used[0]}/{self.endpoints.size} endpoints>"

    @property
    def mapped_bytes(self):
        return self.length

    @property
    def limit_cells(self):
        return self.limits.n_sets * SET_CELLS

    def route_slot(self, bytes key not None):
        cdef int64_t slot = claim(&self.routes, hash_key(key, len(key)))
        if slot < 0:
            raise OverflowError(f"the metrics hold {self.routes.size} distinct routes; raise process.routes_max and restart")
        return slot

    def endpoint_slot(self, bytes key not None):
        cdef int64_t slot = claim(&self.endpoints, hash_key(key, len(key)))
        if slot < 0:
            raise OverflowError(f"shared memory holds {self.endpoints.size} distinct endpoints; raise process.endpoints_max and restart")
        return slot

    def policy_slot(self, bytes key not None):
        cdef int64_t slot = claim(&self.policies, hash_key(key, len(key)))
        if slot < 0:
            raise OverflowError(f"shared memory holds {self.policies.size} distinct policies with Python hooks")
        return slot

    def load_slot(self, bytes key not None):
        cdef int64_t slot = claim(&self.loads, hash_key(key, len(key)))
        if slot < 0:
            raise OverflowError(f"shared memory holds {self.loads.size} distinct services to shed load for; raise process.endpoints_max and restart")
        return slot

    def find_route(self, bytes key not None):
        cdef int64_t slot = find(&self.routes, hash_key(key, len(key)))
        return None if slot < 0 else slot

    def find_endpoint(self, bytes key not None):
        cdef int64_t slot = find(&self.endpoints, hash_key(key, len(key)))
        return None if slot < 0 else slot

    def find_policy(self, bytes key not None):
        cdef int64_t slot = find(&self.policies, hash_key(key, len(key)))
        return None if slot < 0 else slot

    def find_load(self, bytes key not None):
        cdef int64_t slot = find(&self.loads, hash_key(key, len(key)))
        return None if slot < 0 else slot

    def occupancy(self):
        return {
            "routes": (atomic_load_u64(self.routes.used), self.routes.size),
            "endpoints": (atomic_load_u64(self.endpoints.used), self.endpoints.size),
            "policies": (atomic_load_u64(self.policies.used), self.policies.size),
            "loads": (atomic_load_u64(self.loads.used), self.loads.size),
        }

    # reading

    def route_totals(self, int slot):
        cdef RouteStats total
        cdef int worker
        self._check_route(0, slot)
        memset(&total, 0, sizeof(RouteStats))
        for worker in range(self.worker_count):
            if self._in_memory(worker, slot):
                _add_words(<uint64_t*>&total, <const uint64_t*>shm_route(self, worker, slot), sizeof(RouteStats) // 8)
        return {
            "requests": [total.requests[i] for i in range(STATUS_CLASSES)],
            "bytes_in": total.bytes_in,
            "bytes_out": total.bytes_out,
            "by_gateway": total.by_gateway,
            "retries": total.retries,
            "upgrades": total.upgrades,
            "client_closed": total.client_closed,
            "by_reason": [total.by_reason[i] for i in range(REASONS_MAX)],
            "latency": histogram(&total.latency),
            "origin": histogram(&total.origin),
        }

    def policy_totals(self, int slot):
        cdef PolicyStats total
        cdef PolicyStats* stats
        cdef int worker
        self._check_policy(0, slot)
        memset(&total, 0, sizeof(PolicyStats))
        quarantined = []
        for worker in range(self.worker_count):
            stats = shm_policy(self, worker, slot)
            _add_words(<uint64_t*>&total, <const uint64_t*>stats, sizeof(PolicyStats) // 8)
            quarantined.append(atomic_load_u64(&stats.quarantined))
        return {
            **{name: histogram(&total.phases[phase]) for phase, name in enumerate(PHASES)},
            "over": total.over,
            "skipped": total.skipped,
            "quarantined": quarantined,
        }

    def load_totals(self, int slot):
        cdef double limit = 0
        cdef uint64_t inflight = 0
        cdef int worker
        if not 0 <= slot < <int>self.loads.size:
            raise IndexError(f"no load {slot}")
        for worker in range(self.worker_count):
            limit += shm_load(self, worker, slot).limit
            inflight += shm_load(self, worker, slot).inflight
        return {"limit": limit, "inflight": inflight}

    def reason_totals(self):
        cdef uint64_t total[REASONS_MAX]
        cdef int worker
        cdef uint32_t slot
        memset(total, 0, sizeof(total))
        for slot in range(self.routes.size):
            if atomic_load_u64(&self.routes.cells[slot].hash) == 0:
                continue
            for worker in range(self.worker_count):
                if self._in_memory(worker, slot):
                    _add_words(total, shm_route(self, worker, slot).by_reason, REASONS_MAX)
        return [total[i] for i in range(REASONS_MAX)]

    def workers(self):
        cdef int worker, i
        cdef const uint64_t* words
        found = []
        for worker in range(self.worker_count):
            words = <const uint64_t*>shm_worker(self, worker)
            found.append({name: atomic_load_u64(words + i) for i, name in enumerate(WORKER_FIELDS)})
        return found

    def endpoint(self, int slot):
        cdef EndpointState* state
        cdef uint64_t requests = 0
        cdef int worker
        self._check_endpoint(0, slot)
        state = shm_endpoint(self, slot)
        for worker in range(self.worker_count):
            requests += atomic_load_u64(&shm_share(self, worker, slot).requests)
        return {
            "down_until_ms": atomic_load_i64(&state.down_until_ms),
            "fails": atomic_load_i32(&state.fails),
            "inflight": atomic_load_i32(&state.inflight),
            "requests": requests,
            "failures": atomic_load_u64(&state.failures),
            "connects": atomic_load_u64(&state.connects),
            "ejections": atomic_load_u64(&state.ejections),
        }

    # writing, from Python

    def reset_gauges(self, int worker):
        cdef uint32_t slot
        cdef int64_t held
        cdef int i
        cdef uint64_t* words
        self._check_worker(worker)
        words = <uint64_t*>shm_worker(self, worker)
        for i in range(<int>len(WORKER_GAUGES)):
            atomic_store_u64(words + i, 0)
        if atomic_load_u64(self.loads.used):
            memset(shm_load(self, worker, 0), 0, self.loads.size * sizeof(LoadStats))
        for slot in range(self.endpoints.size):
            if self.endpoints.cells[slot].hash == 0:
                continue
            held = shm_share(self, worker, slot).inflight
            if held != 0:
                atomic_add_i32(&self.states[slot].inflight, <int32_t>-held)
                shm_share(self, worker, slot).inflight = 0

    def set_worker(self, int worker, **values):
        cdef uint64_t* words
        cdef int i
        self._check_worker(worker)
        words = <uint64_t*>shm_worker(self, worker)
        for name, value in values.items():
            i = WORKER_FIELDS.index(name)
            atomic_store_u64(words + i, value)

    def count(self, int worker, int slot, int status, *, uint64_t latency_us=0, origin_us=None, uint64_t bytes_in=0, uint64_t bytes_out=0, reason=None, uint64_t retries=0):
        cdef RouteStats* stats
        self._check_route(worker, slot)
        if not 0 <= status < 600:
            raise ValueError(f"{status} is not a status")
        if reason is not None and not 0 <= reason < REASONS_MAX:
            raise ValueError(f"{reason} is not the index of a reason")
        stats = shm_route(self, worker, slot)
        stats.requests[status // 100] += 1
        stats.bytes_in += bytes_in
        stats.bytes_out += bytes_out
        stats.retries += retries
        hist_add(&stats.latency, latency_us)
        if origin_us is not None:
            hist_add(&stats.origin, origin_us)
        if reason is not None:
            stats.by_gateway += 1
            stats.by_reason[<int>reason] += 1

    def count_hook(self, int worker, int slot, uint64_t us, *, uint64_t over=0, uint64_t skipped=0, uint64_t quarantined=0):
        cdef PolicyStats* stats
        self._check_policy(worker, slot)
        stats = shm_policy(self, worker, slot)
        hist_add(&stats.phases[0], us)
        stats.over += over
        stats.skipped += skipped
        stats.quarantined = quarantined

    def endpoint_begin(self, int worker, int slot):
        self._check_endpoint(worker, slot)
        endpoint_begin(shm_endpoint(self, slot), shm_share(self, worker, slot))

    def endpoint_end(self, int worker, int slot):
        self._check_endpoint(worker, slot)
        endpoint_end(shm_endpoint(self, slot), shm_share(self, worker, slot))

    def endpoint_connected(self, int slot):
        self._check_endpoint(0, slot)
        endpoint_connected(shm_endpoint(self, slot))

    def endpoint_failed(self, int slot, int64_t now_ms, int32_t fails_limit, int64_t eject_ms):
        self._check_endpoint(0, slot)
        return bool(endpoint_failed(shm_endpoint(self, slot), now_ms, fails_limit, eject_ms))

    def endpoint_ok(self, int slot):
        self._check_endpoint(0, slot)
        endpoint_ok(shm_endpoint(self, slot))

    cdef int _check_worker(self, int worker) except -1:
        if not 0 <= worker < self.worker_count:
            raise IndexError(f"worker {worker} of {self.worker_count}")
        return 0

    cdef int _check_route(self, int worker, int slot) except -1:
        self._check_worker(worker)
        if not 0 <= slot < <int>self.routes.size:
            raise IndexError(f"route slot {slot} of {self.routes.size}")
        return 0

    cdef int _check_endpoint(self, int worker, int slot) except -1:
        self._check_worker(worker)
        if not 0 <= slot < <int>self.endpoints.size:
            raise IndexError(f"endpoint slot {slot} of {self.endpoints.size}")
        return 0

    cdef int _check_policy(self, int worker, int slot) except -1:
        self._check_worker(worker)
        if not 0 <= slot < <int>self.policies.size:
            raise IndexError(f"policy slot {slot} of {self.policies.size}")
        return 0

    cdef bint _in_memory(self, int worker, int slot) noexcept:
        # To read a page of the mapping that no worker has written would allocate it: with 10,000 routes and 16 workers a scrape would take
        # 700 MB. What was seen once stays seen, because mincore does not report a page that went to swap.
        cdef size_t index = <size_t>worker * self.routes.size + slot
        cdef size_t address = <size_t>shm_route(self, worker, slot)
        cdef unsigned char resident = 1
        if self.seen[index]:
            return True
        if mincore(<void*>(address // self.page * self.page), self.page, &resident) == 0 and not resident & 1:
            return False
        self.seen[index] = 1
        return True


cdef void _add_words(uint64_t* into, const uint64_t* words, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        into[i] += atomic_load_u64(words + i)


def _repeat(Segment segment not None, int slot, uint64_t times):
    cdef EndpointState* state = shm_endpoint(segment, slot)
    cdef EndpointShare* share = shm_share(segment, 0, slot)
    cdef uint64_t _
    with nogil:
        for _ in range(times):
            endpoint_begin(state, share)
            endpoint_ok(state)
            endpoint_end(state, share)
