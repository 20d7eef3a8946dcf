from collections import namedtuple

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from gw._fast.bucket cimport cell_of
from gw._fast.cell cimport COUNT_MASK, LEASE, TALLY, TALLY_MASK, TICK_BITS, find, first_of, read, see_tag, see_value, set_of, swap, tag_of, ticks, whole_us
from gw._fast.hash cimport hash_key
from gw._fast.shm cimport LimitCell

cdef enum:
    ASKED = 1 << 23
    FINAL = 1 << 22
    ENDED = 1 << 21
    LOW_SHIFT = 17
    LOW_BITS = 15 << LOW_SHIFT
    UNITS_BITS = (1 << LOW_SHIFT) - 1
    RETRY_BITS = ENDED - 1
    ASK_US = 250_000                    # an ask without an answer is made again after that
    LEASES_MAX = 8                      # of one call


cdef inline int64_t rounded_up(int64_t time) noexcept nogil:
    return (time + COUNT_MASK) & ~COUNT_MASK


cdef inline int64_t time_of(int64_t value) noexcept nogil:
    return value & ~COUNT_MASK


cdef inline uint32_t units_of(int64_t value, int64_t now) noexcept nogil:
    """That may be spent now."""
    return <uint32_t>(value & UNITS_BITS) if time_of(value) > now and not value & (FINAL | ENDED) else 0


cdef inline uint32_t rest_of(int64_t value) noexcept nogil:
    """In the cell at all."""
    return 0 if value & FINAL else <uint32_t>(value & UNITS_BITS)


cdef inline int64_t spent_down(int64_t value, uint32_t cost) noexcept nogil:
    """The value without the units, asking for more if few are left."""
    cdef uint32_t low = (value & LOW_BITS) >> LOW_SHIFT
    value -= cost
    if low and <uint32_t>(value & UNITS_BITS) < 1u << (low - 1):
        return value | ASKED
    return value


cdef inline int64_t wanting(int64_t value, int64_t now) noexcept nogil:
    """The value once more is asked for: the lease that there is goes on; without one, the time is how long an answer is waited for."""
    if time_of(value) > now:
        return value | ASKED
    return rounded_up(now + (ASK_US << TICK_BITS)) | rest_of(value) | ENDED | ASKED


cdef int lease_take(LimitTable* table, Hash key, uint32_t cost, int64_t now_us, LeaseOut* out) noexcept nogil:
    cdef uint64_t tag = tag_of(key.lo, LEASE)
    cdef int64_t now = ticks(now_us)
    cdef int64_t value, after
    cdef LimitCell* cell
    out.retry_us = 0
    out.asks = False
    while True:
        cell = cell_of(table, key.hi, tag, now)
        if cell == NULL:
            out.units = 0
            return LEASE_FULL
        value = see_value(&cell.value)
        if see_tag(&cell.tag) != tag:
            continue
        out.units = units_of(value, now)
        if out.units >= cost:
            after = spent_down(value, cost)
            if swap(cell, tag, value, tag, after):
                out.units -= cost
                out.asks = (value ^ after) & ASKED != 0
                return LEASE_PASS
        elif time_of(value) > now and value & (FINAL | ASKED):
            if see_value(&cell.value) != value:         # so that the two words read belong together
                continue
            if not value & FINAL:
                return LEASE_WAIT
            out.retry_us = whole_us(time_of(value) - now) + (value & RETRY_BITS) * 1_000_000
            return LEASE_AWAY if value & ASKED else LEASE_REFUSE
        elif swap(cell, tag, value, tag, wanting(value, now)):
            out.asks = True
            return LEASE_WAIT


cdef inline int worse(int one, int other) noexcept nogil:
    # LEASE_* in the order away, refuse, full, wait, pass.
    return one if (one != LEASE_PASS and (other == LEASE_PASS or other == LEASE_WAIT)) or one == LEASE_AWAY or (one == LEASE_REFUSE and other == LEASE_FULL) else other


cdef int lease_take_all(LimitTable* table, const Hash* keys, uint32_t n, uint32_t cost, int64_t now_us, LeaseOut* outs) noexcept nogil:
    cdef uint32_t i, held = 0
    cdef int verdict = LEASE_PASS
    for i in range(n if n > 1 else 0):
        outs[i].units = lease_units(table, keys[i], now_us)
        outs[i].retry_us = 0
        outs[i].asks = False
        held += outs[i].units >= cost
    if held == n or n == 1:
        for i in range(n):
            verdict = lease_take(table, keys[i], cost, now_us, outs + i)
            if verdict != LEASE_PASS:
                n = i
                break
        for i in range(n if verdict != LEASE_PASS else 0):
            lease_give_back(table, keys[i], cost, now_us)
            outs[i].units += cost
        return verdict
    for i in range(n):
        if outs[i].units >= cost:
            continue
        held = lease_take(table, keys[i], cost, now_us, outs + i)
        if held == LEASE_PASS:                          # they came just now
            lease_give_back(table, keys[i], cost, now_us)
            held = LEASE_WAIT
        verdict = worse(held, verdict)
    return verdict


cdef inline LimitCell* there(LimitTable* table, Hash key, uint64_t kind) noexcept nogil:
    return find(set_of(table, key.hi), tag_of(key.lo, kind), first_of(key.hi))


cdef void lease_give_back(LimitTable* table, Hash key, uint32_t cost, int64_t now_us) noexcept nogil:
    cdef LimitCell* cell = there(table, key, LEASE)
    cdef uint64_t tag = 0
    cdef int64_t value = 0
    while cell != NULL:
        read(cell, &tag, &value)
        if tag != tag_of(key.lo, LEASE) or time_of(value) <= ticks(now_us) or value & (FINAL | ENDED) or (value & UNITS_BITS) + cost > UNITS_BITS:
            return
        if swap(cell, tag, value, tag, value + cost):
            return


cdef void lease_ask_anew(LimitTable* table, Hash key) noexcept nogil:
    cdef LimitCell* cell = there(table, key, LEASE)
    cdef uint64_t tag = 0
    cdef int64_t value = 0
    while cell != NULL:
        read(cell, &tag, &value)
        if tag != tag_of(key.lo, LEASE) or not value & ASKED or value & FINAL or swap(cell, tag, value, tag, value & ~<int64_t>ASKED):
            return


cdef uint32_t lease_units(LimitTable* table, Hash key, int64_t now_us) noexcept nogil:
    cdef LimitCell* cell = there(table, key, LEASE)
    cdef uint64_t tag = 0
    cdef int64_t value = 0
    if cell != NULL:
        read(cell, &tag, &value)
    return units_of(value, ticks(now_us)) if tag == tag_of(key.lo, LEASE) else 0


cdef int64_t lease_tallied(LimitTable* table, Hash key, int64_t now_us) noexcept nogil:
    cdef LimitCell* cell = there(table, key, TALLY)
    cdef uint64_t tag = 0
    cdef int64_t value = 0
    if cell != NULL:
        read(cell, &tag, &value)
    return value & TALLY_MASK if tag == tag_of(key.lo, TALLY) and value > ticks(now_us) else -1


# The supervisor

cdef int64_t lease_grant(LimitTable* table, Hash key, uint32_t units, uint8_t low, int64_t until_us, int64_t now_us) noexcept nogil:
    cdef uint64_t tag = tag_of(key.lo, LEASE)
    cdef int64_t after = time_of(ticks(until_us)) | <int64_t>low << LOW_SHIFT | units
    cdef int64_t value
    cdef LimitCell* cell
    while True:
        cell = cell_of(table, key.hi, tag, ticks(now_us))
        if cell == NULL:
            return -1
        value = see_value(&cell.value)
        if see_tag(&cell.tag) == tag and swap(cell, tag, value, tag, after):
            return rest_of(value)


cdef int64_t lease_refuse(LimitTable* table, Hash key, uint32_t want, bint away, int64_t until_us, int64_t retry_us, int64_t now_us) noexcept nogil:
    cdef uint64_t tag = tag_of(key.lo, LEASE)
    cdef int64_t now = ticks(now_us)
    cdef int64_t final = rounded_up(ticks(until_us))
    # In whole seconds, rounded down: the time itself was rounded up.
    cdef int64_t later = max(0, retry_us - whole_us(final - now)) // 1_000_000
    cdef int64_t value
    cdef LimitCell* cell
    final |= FINAL | (ASKED if away else 0) | min(later, RETRY_BITS)
    while True:
        cell = cell_of(table, key.hi, tag, now)
        if cell == NULL:
            return 0
        value = see_value(&cell.value)
        if see_tag(&cell.tag) != tag:
            continue
        if units_of(value, now) >= want:
            if swap(cell, tag, value, tag, value & ~<int64_t>(ASKED | LOW_BITS)):
                return 0
        elif swap(cell, tag, value, tag, final):
            return rest_of(value)


cdef int64_t lease_close(LimitTable* table, Hash key) noexcept nogil:
    cdef LimitCell* cell = there(table, key, LEASE)
    cdef uint64_t tag = 0
    cdef int64_t value = 0
    while cell != NULL:
        read(cell, &tag, &value)
        if tag != tag_of(key.lo, LEASE) or rest_of(value) == 0:
            break
        if swap(cell, tag, value, tag, value & ~<int64_t>UNITS_BITS):
            return rest_of(value)
    return 0


cdef void lease_tally(LimitTable* table, Hash key, int64_t left, int64_t until_us, int64_t now_us) noexcept nogil:
    cdef uint64_t tag = tag_of(key.lo, TALLY)
    cdef int64_t after = ((ticks(until_us) + TALLY_MASK) & ~TALLY_MASK) | min(max(0, left), TALLY_MASK)
    cdef int64_t value
    cdef LimitCell* cell
    while True:
        cell = cell_of(table, key.hi, tag, ticks(now_us))
        if cell == NULL:
            return
        value = see_value(&cell.value)
        if see_tag(&cell.tag) == tag and swap(cell, tag, value, tag, after):
            return


# Python

Spent = namedtuple("Spent", ["verdict", "asks", "units", "retry_us"])
VERDICTS = ("pass", "refuse", "full", "wait", "away")   # index: LEASE_*


cdef Hash hash_of(bytes key) except *:
    cdef Hash made
    if len(key) != sizeof(Hash):
        raise ValueError(f"the key of a lease has {sizeof(Hash)} bytes, not {len(key)}")
    memcpy(&made, PyBytes_AS_STRING(key), sizeof(Hash))
    return made


cdef int check_cost(uint32_t cost) except -1:
    if not 1 <= cost <= LEASE_MAX:
        raise ValueError(f"from 1 to {LEASE_MAX} units at once, not {cost}")
    return 0


cdef object spent(int verdict, const LeaseOut* out):
    return Spent(VERDICTS[verdict], bool(out.asks), out.units, out.retry_us)


@cython.final
cdef class Leases:
    def __cinit__(self, Segment segment not None, bytes identity not None=b""):
        if segment.limits.n_sets == 0:
            raise ValueError("the segment has no cells for limits; raise process.limit_cells and restart")
        self.segment = segment
        self.seed = hash_key(PyBytes_AS_STRING(identity), len(identity), segment.limits.seed)

    def key(self, bytes text not None):
        cdef Hash made = hash_key(PyBytes_AS_STRING(text), len(text), self.seed)
        return (<const char*>&made)[:sizeof(Hash)]

    def take(self, bytes key not None, uint32_t cost, int64_t now_us):
        cdef LeaseOut out
        check_cost(cost)
        return spent(lease_take(&self.segment.limits, hash_of(key), cost, now_us, &out), &out)

    def take_all(self, keys, uint32_t cost, int64_t now_us):
        cdef Hash given[LEASES_MAX]
        cdef LeaseOut outs[LEASES_MAX]
        cdef int verdict, i
        check_cost(cost)
        if not 1 <= len(keys) <= LEASES_MAX:
            raise ValueError(f"from 1 to {LEASES_MAX} leases at once, not {len(keys)}")
        for i, key in enumerate(keys):
            given[i] = hash_of(key)
        verdict = lease_take_all(&self.segment.limits, given, <uint32_t>len(keys), cost, now_us, outs)
        return VERDICTS[verdict], [(bool(outs[i].asks), outs[i].units, outs[i].retry_us) for i in range(<int>len(keys))]

    def give_back(self, bytes key not None, uint32_t cost, int64_t now_us):
        check_cost(cost)
        lease_give_back(&self.segment.limits, hash_of(key), cost, now_us)

    def ask_anew(self, bytes key not None):
        lease_ask_anew(&self.segment.limits, hash_of(key))

    def read(self, bytes key not None, int64_t now_us):
        cdef Hash hashed = hash_of(key)
        cdef int64_t left = lease_tallied(&self.segment.limits, hashed, now_us)
        return lease_units(&self.segment.limits, hashed, now_us), None if left < 0 else left

    def grant(self, bytes key not None, uint32_t units, uint8_t low, int64_t until_us, int64_t now_us):
        cdef int64_t rest
        check_cost(units)
        if low > LOW_MAX:
            raise ValueError(f"the mark of few units is from 0 to {LOW_MAX}, not {low}")
        rest = lease_grant(&self.segment.limits, hash_of(key), units, low, until_us, now_us)
        return None if rest < 0 else rest

    def refuse(self, bytes key not None, uint32_t want, bint away, int64_t until_us, int64_t retry_us, int64_t now_us):
        return lease_refuse(&self.segment.limits, hash_of(key), want, away, until_us, retry_us, now_us)

    def close(self, bytes key not None):
        return lease_close(&self.segment.limits, hash_of(key))

    def tally(self, bytes key not None, left, int64_t until_us, int64_t now_us):
        lease_tally(&self.segment.limits, hash_of(key), left, until_us, now_us)


def _repeat(Leases leases not None, bytes key not None, uint64_t times, int64_t now_us=0):
    cdef LeaseOut out
    cdef Hash hashed = hash_of(key)
    cdef uint64_t _, passed = 0
    with nogil:
        for _ in range(times):
            passed += lease_take(&leases.segment.limits, hashed, 1, now_us, &out) == LEASE_PASS
    return passed
