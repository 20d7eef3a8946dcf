from collections import namedtuple

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int32_t
from posix.unistd cimport usleep

from gw._fast.cell cimport (
    COUNT_MASK, GRACE, IN_FLIGHT, KINDS, TALLY, TALLY_MASK, TICK_BITS, find, first_of, in_use, read, see_tag, see_value, set_of, swap, tag_of, ticks, whole_us,
)
from gw._fast.hash cimport hash_key
from gw._fast.shm cimport SET_CELLS, LimitSet, atomic_add_u64, atomic_load_u64, atomic_store_u64

cdef extern from *:
    """
    #define GW_REFILL_MAX_US (366ll * 86400000000ll)
    #define GW_UNDER_WAY (1ull << 32)
    #define GW_OPERATION (1ull << 33)
    """
    const int64_t REFILL_MAX_US "GW_REFILL_MAX_US"
    # A share: what is in flight, a bit while an operation is under way, and above it the number of operations.
    const uint64_t UNDER_WAY "GW_UNDER_WAY"
    const uint64_t OPERATION "GW_OPERATION"

cdef enum:
    TURN_BITS = 8                       # bits of a claim's value below the turn: 1 + index of the cell
    ATTEMPTS = 1000                     # to see a number in flight while nobody changes it
    PAUSE_US = 50                       # between them, so that a worker which does can go on
    WINDOWS_MAX = 16                    # of one call from Python


cdef int32_t empty_cell(LimitSet* cells, uint32_t first, int64_t now) noexcept nogil:
    """Index of an empty cell, emptied for the purpose if need be; -1 when all are in use."""
    cdef uint32_t i, k
    cdef uint64_t tag
    cdef int64_t value
    cdef LimitCell* cell
    for k in range(SET_CELLS):
        i = (first + k) % SET_CELLS
        if see_tag(&cells.cells[i].tag) == 0:
            return i
    for k in range(SET_CELLS):
        i = (first + k) % SET_CELLS
        cell = &cells.cells[i]
        tag = see_tag(&cell.tag)
        value = see_value(&cell.value)
        if tag == 0 or not in_use(tag, value, now) and swap(cell, tag, value, 0, value):
            return i
    return -1


cdef int64_t fresh(uint64_t tag, int64_t empty, int64_t now) noexcept nogil:
    # A full bucket, or nothing in flight, granted or left, that stays half of GRACE in the hands of its key even if that does not use it.
    cdef int64_t value = max(empty + 1, now - GRACE // 2)
    cdef int64_t mask = TALLY_MASK if tag & TALLY else COUNT_MASK if tag & KINDS else 0
    return (value + mask) & ~mask


cdef void settle(LimitTable* table, LimitSet* cells, uint64_t tag, int64_t turn, int64_t now) noexcept nogil:
    cdef LimitCell* cell = &cells.cells[(turn & ((1 << TURN_BITS) - 1)) - 1]
    cdef uint64_t owner
    cdef int64_t value
    while True:
        read(cell, &owner, &value)
        if owner != 0:
            break
        if see_value(&cells.claim.value) != turn:
            return
        if swap(cell, 0, value, tag, fresh(tag, value, now)):
            atomic_add_u64(table.claims, 1)
            break
    swap(&cells.claim, tag, turn, 0, turn >> TURN_BITS << TURN_BITS)


cdef LimitCell* claim(LimitTable* table, LimitSet* cells, uint64_t tag, uint32_t first, int64_t now) noexcept nogil:
    cdef LimitCell* cell
    cdef uint64_t other
    cdef int64_t turn, next_turn
    cdef int32_t i
    while True:
        read(&cells.claim, &other, &turn)
        if other != 0:
            settle(table, cells, other, turn, now)
            continue
        cell = find(cells, tag, first)
        if cell != NULL:
            return cell
        i = empty_cell(cells, first, now)
        if i < 0:
            atomic_add_u64(table.full, 1)
            return NULL
        next_turn = turn + (1 << TURN_BITS) + i + 1
        if swap(&cells.claim, 0, turn, tag, next_turn):
            settle(table, cells, tag, next_turn, now)


cdef LimitCell* cell_of(LimitTable* table, uint64_t bits, uint64_t tag, int64_t now) noexcept nogil:
    cdef LimitSet* cells = set_of(table, bits)
    cdef LimitCell* cell = find(cells, tag, first_of(bits))
    return cell if cell != NULL else claim(table, cells, tag, first_of(bits), now)


# rates

cdef int window_init(Window* window, int64_t rate, int64_t per_us, int64_t burst, Hash seed) except -1:
    cdef int64_t terms[3]
    if not (0 < rate <= 1 << 32 and 0 < per_us <= REFILL_MAX_US and 0 < burst <= 1 << 31):
        raise ValueError(f"a window has a rate from 1 to {1 << 32} in up to 366 days and a burst from 1 to {1 << 31}; this one {rate} in {per_us} us and {burst}")
    window.interval = ((per_us << TICK_BITS) + rate - 1) // rate
    if burst > (REFILL_MAX_US << TICK_BITS) // window.interval:
        raise ValueError(f"a burst of {burst} at {rate} in {per_us} us takes more than 366 days to come back; lower the burst or raise the rate")
    window.burst = <uint32_t>burst
    window.capacity = burst * window.interval
    terms[:] = [rate, per_us, burst]
    window.salt = hash_key(<const char*>terms, sizeof(terms), seed).lo
    return 0


cdef inline void report(LimitOut* out, const Window* window, int64_t ahead, int64_t lacking) noexcept nogil:
    """`ahead`: ticks until the bucket is full. `lacking`: ticks until the cost passes."""
    out.remaining = max(0, window.capacity - ahead) // window.interval
    out.reset_us = whole_us(ahead)
    out.retry_after_us = whole_us(max(0, lacking))


cdef int limit_take(LimitTable* table, Hash key, const Window* window, uint32_t cost, int64_t now_us, LimitOut* out) noexcept nogil:
    cdef uint64_t tag = tag_of(key.lo ^ window.salt, 0)
    cdef int64_t now = ticks(now_us)
    cdef int64_t charge, value, before
    cdef LimitCell* cell
    if cost == 0 or cost > window.burst:
        return limit_peek(table, key, window, cost, now_us, out)
    charge = cost * window.interval
    while True:
        cell = cell_of(table, key.hi ^ window.salt, tag, now)
        if cell == NULL:
            report(out, window, 0, 0)
            out.cell = NULL
            return LIMIT_FULL
        value = see_value(&cell.value)
        if see_tag(&cell.tag) != tag:
            continue
        before = max(value, now)
        if before + charge > now + window.capacity:
            if see_value(&cell.value) == value:     # so that the two words read belong together
                report(out, window, before - now, before + charge - window.capacity - now)
                out.cell = NULL
                return LIMIT_REFUSE
        elif swap(cell, tag, value, tag, before + charge):
            report(out, window, before + charge - now, 0)
            out.cell = cell
            out.tag = tag
            out.value = before + charge
            out.charge = charge
            return LIMIT_PASS


cdef int limit_peek(LimitTable* table, Hash key, const Window* window, uint32_t cost, int64_t now_us, LimitOut* out) noexcept nogil:
    cdef uint64_t bits = key.hi ^ window.salt
    cdef uint64_t tag = tag_of(key.lo ^ window.salt, 0)
    cdef uint64_t owner = 0
    cdef int64_t now = ticks(now_us)
    cdef int64_t ahead, lacking, value = 0
    cdef LimitCell* cell = find(set_of(table, bits), tag, first_of(bits))
    if cell != NULL:
        read(cell, &owner, &value)
    ahead = max(0, value - now) if owner == tag else 0
    out.cell = NULL
    if cost > window.burst:
        report(out, window, ahead, 0)
        out.retry_after_us = LIMIT_NEVER
        return LIMIT_REFUSE
    lacking = ahead + cost * window.interval - window.capacity if cost else 0
    report(out, window, ahead, lacking)
    return LIMIT_REFUSE if lacking > 0 else LIMIT_PASS


cdef bint limit_give_back(LimitOut* out) noexcept nogil:
    cdef LimitCell* cell = out.cell
    out.cell = NULL
    return cell != NULL and swap(cell, out.tag, out.value, out.tag, out.value - out.charge)


cdef int _peek_all(LimitTable* table, Hash key, const Window* windows, uint32_t n, uint32_t cost, int64_t now_us, LimitOut* outs) noexcept nogil:
    cdef uint32_t i
    cdef int verdict = LIMIT_PASS
    for i in range(n):
        if limit_peek(table, key, windows + i, cost, now_us, outs + i) != LIMIT_PASS:
            verdict = LIMIT_REFUSE
    return verdict


cdef int limit_take_all(LimitTable* table, Hash key, const Window* windows, uint32_t n, uint32_t cost, int64_t now_us, LimitOut* outs) noexcept nogil:
    cdef uint32_t i, taken
    cdef int verdict
    if n > 1 and _peek_all(table, key, windows, n, cost, now_us, outs) != LIMIT_PASS:
        return LIMIT_REFUSE
    for taken in range(n):
        verdict = limit_take(table, key, windows + taken, cost, now_us, outs + taken)
        if verdict != LIMIT_PASS:
            for i in range(taken):
                limit_give_back(outs + i)
                limit_peek(table, key, windows + i, cost, now_us, outs + i)
            return verdict
    return LIMIT_PASS


# numbers in flight

cdef inline uint64_t* share_of(LimitTable* table, uint32_t worker, uint32_t cell) noexcept nogil:
    return table.shares + (<size_t>worker * table.n_sets * (SET_CELLS + 1) + cell)


cdef inline int64_t stamped(int64_t value, int64_t now, int64_t more) noexcept nogil:
    return (max(value, now) & ~COUNT_MASK) | ((value & COUNT_MASK) + more)


cdef int inflight_enter(LimitTable* table, uint32_t worker, Hash key, uint32_t limit, int64_t now_us, InflightOut* out) noexcept nogil:
    # The share says that something is under way before the cell says that it happened: see lost().
    cdef uint64_t tag = tag_of(key.lo, IN_FLIGHT)
    cdef uint64_t* share
    cdef uint64_t held
    cdef int64_t now = ticks(now_us)
    cdef int64_t value
    cdef LimitCell* cell
    while True:
        cell = cell_of(table, key.hi, tag, now)
        if cell == NULL:
            return LIMIT_FULL
        value = see_value(&cell.value)
        if see_tag(&cell.tag) != tag:
            continue
        out.count = <uint32_t>(value & COUNT_MASK)
        if out.count >= limit:
            if see_value(&cell.value) == value:
                return LIMIT_REFUSE
            continue
        out.cell = <uint32_t>(cell - <LimitCell*>table.sets)
        share = share_of(table, worker, out.cell)
        held = atomic_load_u64(share)
        atomic_store_u64(share, held | UNDER_WAY)
        if swap(cell, tag, value, tag, stamped(value, now, 1)):
            atomic_store_u64(share, held + OPERATION + 1)
            out.count += 1
            return LIMIT_PASS
        atomic_store_u64(share, held)


cdef void inflight_leave(LimitTable* table, uint32_t worker, uint32_t cell, int64_t now_us) noexcept nogil:
    cdef LimitCell* at = <LimitCell*>table.sets + cell
    cdef uint64_t* share = share_of(table, worker, cell)
    cdef uint64_t held = atomic_load_u64(share) - 1
    cdef int64_t now = ticks(now_us)
    atomic_store_u64(share, held | UNDER_WAY)
    add(at, now, -1)
    atomic_store_u64(share, held + OPERATION)


cdef void add(LimitCell* cell, int64_t now, int64_t more) noexcept nogil:
    cdef uint64_t tag
    cdef int64_t value
    while True:
        tag = see_tag(&cell.tag)                    # what is in flight in it keeps the cell from changing hands
        value = see_value(&cell.value)
        if swap(cell, tag, value, tag, stamped(value, now, more)):
            return


cdef bint shares(LimitTable* table, uint32_t cell, uint64_t* words, int64_t* held) noexcept nogil:
    """The shares of all workers, added up as words and as what is in flight. False while an operation is under way."""
    cdef bint still = True
    cdef uint64_t share
    cdef uint32_t worker
    words[0] = 0
    held[0] = 0
    for worker in range(table.n_workers):
        share = see_tag(share_of(table, worker, cell))
        words[0] += share
        held[0] += <uint32_t>share
        still = still and not share & UNDER_WAY
    return still


cdef int64_t lost(LimitTable* table, uint32_t cell) noexcept nogil:
    """What a cell counts and no share accounts for; -1 when it did not stand still. Each operation raises the sum of the words: where it is the same twice,
    and none under way, nothing happened in between."""
    cdef const int64_t* value = &(<LimitCell*>table.sets + cell).value
    cdef uint64_t before, after
    cdef int64_t total, held
    cdef bint still
    cdef int _
    for _ in range(ATTEMPTS):
        still = shares(table, cell, &before, &held)
        total = see_value(value) & COUNT_MASK
        if shares(table, cell, &after, &held) and still and before == after:
            return total - held
        usleep(PAUSE_US)
    return -1


cdef void forget(LimitTable* table, uint32_t worker, uint32_t cell, int64_t now) noexcept nogil:
    """Give back what a dead worker had in flight. If it died within an operation, only the others' shares can tell whether that came to pass; should they not
    stand still, it counts as not begun or not left: one in flight too many, never one too few."""
    cdef LimitCell* at = <LimitCell*>table.sets + cell
    cdef uint64_t* share = share_of(table, worker, cell)
    cdef uint64_t held = atomic_load_u64(share)
    cdef int64_t gone = <uint32_t>held
    atomic_store_u64(share, (held & ~(OPERATION - 1)) + OPERATION)
    if held & UNDER_WAY and at.tag & IN_FLIGHT:
        gone = max(gone, lost(table, cell))
    if gone != 0:
        add(at, now, -gone)


# Python

Taken = namedtuple("Taken", ["verdict", "remaining", "reset_us", "retry_after_us"])
VERDICTS = ("pass", "refuse", "full")                   # index: LIMIT_*


cdef object taken(int verdict, const LimitOut* out):
    return Taken(VERDICTS[verdict], out.remaining, out.reset_us, out.retry_after_us)


@cython.final
cdef class Limits:
    def __cinit__(self, Segment segment not None, bytes identity not None=b""):
        if segment.limits.n_sets == 0:
            raise ValueError("the segment has no cells for limits; raise process.limit_cells and restart")
        self.segment = segment
        self.seed = hash_key(PyBytes_AS_STRING(identity), len(identity), segment.limits.seed)

    cdef Hash _hash(self, bytes key) noexcept:
        return hash_key(PyBytes_AS_STRING(key), len(key), self.seed)

    def take(self, bytes key not None, rate, per_us, burst, uint32_t cost, int64_t now_us):
        cdef Window window
        window_init(&window, rate, per_us, burst, self.seed)
        return taken(limit_take(&self.segment.limits, self._hash(key), &window, cost, now_us, &self.last), &self.last)

    def peek(self, bytes key not None, rate, per_us, burst, uint32_t cost, int64_t now_us):
        cdef Window window
        cdef LimitOut out
        window_init(&window, rate, per_us, burst, self.seed)
        return taken(limit_peek(&self.segment.limits, self._hash(key), &window, cost, now_us, &out), &out)

    def give_back(self):
        return bool(limit_give_back(&self.last))

    def take_all(self, bytes key not None, windows, uint32_t cost, int64_t now_us):
        cdef Window given[WINDOWS_MAX]
        cdef LimitOut outs[WINDOWS_MAX]
        cdef int verdict, i
        if not 1 <= len(windows) <= WINDOWS_MAX:
            raise ValueError(f"from 1 to {WINDOWS_MAX} windows at once, not {len(windows)}")
        for i, (rate, per_us, burst) in enumerate(windows):
            window_init(&given[i], rate, per_us, burst, self.seed)
        verdict = limit_take_all(&self.segment.limits, self._hash(key), given, <uint32_t>len(windows), cost, now_us, outs)
        return VERDICTS[verdict], [(outs[i].remaining, outs[i].reset_us, outs[i].retry_after_us) for i in range(<int>len(windows))]

    def enter(self, int worker, bytes key not None, limit, int64_t now_us):
        cdef InflightOut out = InflightOut(0, 0)
        cdef int verdict
        self.segment._check_worker(worker)
        if not 0 < limit <= COUNT_MASK:
            raise ValueError(f"from 1 to {COUNT_MASK} can be in flight, not {limit}")
        verdict = inflight_enter(&self.segment.limits, worker, self._hash(key), limit, now_us, &out)
        return VERDICTS[verdict], out.count, out.cell if verdict == LIMIT_PASS else None

    def leave(self, int worker, uint32_t cell, int64_t now_us):
        self.segment._check_worker(worker)
        if cell >= self.segment.limits.n_sets * (SET_CELLS + 1) or <uint32_t>share_of(&self.segment.limits, worker, cell)[0] == 0:
            raise IndexError(f"worker {worker} has nothing in flight in cell {cell}")
        inflight_leave(&self.segment.limits, worker, cell, now_us)

    def forget_worker(self, int worker, int64_t now_us):
        cdef LimitTable* table = &self.segment.limits
        cdef uint32_t number, i
        self.segment._check_worker(worker)
        if atomic_load_u64(table.claims) == 0:
            return
        for number in range(table.n_sets):
            for i in range(1, SET_CELLS + 1):
                if <uint64_t>(share_of(table, worker, number * (SET_CELLS + 1) + i)[0] & (OPERATION - 1)) != 0:
                    forget(table, worker, number * (SET_CELLS + 1) + i, ticks(now_us))

    def occupancy(self, int64_t now_us):
        cdef LimitTable* table = &self.segment.limits
        cdef uint32_t number, i
        cdef uint64_t used = 0
        cdef const LimitCell* cell
        for number in range(table.n_sets if atomic_load_u64(table.claims) else 0):
            for i in range(SET_CELLS):
                cell = &table.sets[number].cells[i]
                used += in_use(atomic_load_u64(&cell.tag), see_value(&cell.value), ticks(now_us))
        return used

    @property
    def full(self):
        return atomic_load_u64(self.segment.limits.full)


def _repeat(Limits limits not None, bytes key not None, rate, per_us, burst, uint64_t times, int64_t now_us=0, int64_t step_us=0):
    cdef Window window
    cdef LimitOut out
    cdef Hash hashed = limits._hash(key)
    cdef uint64_t _, passed = 0
    window_init(&window, rate, per_us, burst, limits.seed)
    with nogil:
        for _ in range(times):
            passed += limit_take(&limits.segment.limits, hashed, &window, 1, now_us, &out) == LIMIT_PASS
            now_us += step_us
    return passed


def _repeat_keys(Limits limits not None, rate, per_us, burst, uint64_t keys, uint64_t times, int64_t now_us=0, int64_t step_us=0):
    cdef Window window
    cdef LimitOut out
    cdef uint64_t i, number, passed = 0
    window_init(&window, rate, per_us, burst, limits.seed)
    with nogil:
        for i in range(times):
            number = i % keys
            passed += limit_take(&limits.segment.limits, hash_key(<const char*>&number, sizeof(number), limits.seed), &window, 1, now_us, &out) == LIMIT_PASS
            now_us += step_us
    return passed


def _repeat_inflight(Limits limits not None, int worker, bytes key not None, uint32_t limit, uint64_t times, int64_t now_us=0):
    cdef InflightOut out
    cdef Hash hashed = limits._hash(key)
    cdef uint64_t _, passed = 0
    limits.segment._check_worker(worker)
    with nogil:
        for _ in range(times):
            if inflight_enter(&limits.segment.limits, worker, hashed, limit, now_us, &out) == LIMIT_PASS:
                inflight_leave(&limits.segment.limits, worker, out.cell, now_us)
                passed += 1
    return passed
