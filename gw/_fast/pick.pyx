cimport cython
from libc.stdlib cimport calloc, free

from gw._fast.shm cimport Segment, atomic_load_i32, atomic_load_i64, endpoint_down, shm_endpoint

cdef enum:
    DRAWS = 8                   # random draws before looking at every choice: with half of many endpoints down, 1 pick in 28 does


cdef void picker_init(Picker* p, Choice* choices, uint32_t n, uint32_t mode, uint64_t seed) noexcept nogil:
    cdef uint32_t i
    p.choices = choices
    p.n = n
    p.mode = mode
    p.seed = seed if seed != 0 else 1
    p.equal = n > 0 and choices[0].weight > 0
    for i in range(n):
        choices[i].current = 0
        if choices[i].weight != choices[0].weight:
            p.equal = 0


cdef inline uint32_t draw(Picker* p, uint32_t below) noexcept nogil:
    # xorshift64*; the high bits are scaled instead of taken modulo
    cdef uint64_t x = p.seed
    x ^= x >> 12
    x ^= x << 25
    x ^= x >> 27
    p.seed = x
    return <uint32_t>((((x * <uint64_t>0x2545f4914f6cdd1d) >> 32) * below) >> 32)


cdef inline bint open_to(const Choice* c, int32_t index, int64_t now_ms, uint64_t tried) noexcept nogil:
    return c.weight != 0 and not tried & pick_bit(index) and not endpoint_down(c.state, now_ms)


cdef inline int32_t busy(const Choice* c) noexcept nogil:
    return max(0, atomic_load_i32(&c.state.inflight))


cdef int32_t first_back(const Picker* p, uint64_t tried) noexcept nogil:
    cdef int32_t best = -1, i
    cdef int64_t back, soonest = 0
    for i in range(<int32_t>p.n):
        if p.choices[i].weight == 0 or tried & pick_bit(i):
            continue
        back = atomic_load_i64(&p.choices[i].state.down_until_ms)
        if best < 0 or back < soonest:
            best = i
            soonest = back
    return best


cdef int32_t next_turn(Picker* p, int64_t now_ms, uint64_t tried) noexcept nogil:
    cdef int32_t best = -1, i
    cdef int64_t total = 0
    cdef Choice* c
    for i in range(<int32_t>p.n):
        c = p.choices + i
        if not open_to(c, i, now_ms, tried):
            continue
        total += c.weight
        c.current += c.weight
        if best < 0 or c.current > p.choices[best].current:
            best = i
    if best >= 0:
        p.choices[best].current -= total
    return best


cdef int32_t least_busy(Picker* p, int64_t now_ms, uint64_t tried) noexcept nogil:
    cdef int32_t best = -1, i, k
    cdef int32_t start = <int32_t>draw(p, p.n)      # so that a tie does not always fall to the first
    for k in range(<int32_t>p.n):
        i = (start + k) % <int32_t>p.n
        if open_to(p.choices + i, i, now_ms, tried) and (best < 0 or busy(p.choices + i) < busy(p.choices + best)):
            best = i
    return best


cdef int32_t less_busy_of_two(Picker* p, int64_t now_ms, uint64_t tried) noexcept nogil:
    cdef int32_t first = -1, i
    cdef int _
    for _ in range(DRAWS):
        i = <int32_t>draw(p, p.n)
        if i == first or not open_to(p.choices + i, i, now_ms, tried):
            continue
        if first < 0:
            first = i
        else:
            return i if busy(p.choices + i) < busy(p.choices + first) else first
    return least_busy(p, now_ms, tried)


cdef int32_t turn_or_freer(Picker* p, int64_t now_ms, uint64_t tried) noexcept nogil:
    # To take the one with the least (inflight + 1) / weight would starve a light endpoint while there is little to do: at 1 : 10 it would get nothing
    # until the other holds ten. So turns follow the weights, and a turn is given away only to one that would not be busier by its weight even after it.
    cdef int32_t first = next_turn(p, now_ms, tried)
    cdef int32_t other
    cdef const Choice* a
    cdef const Choice* b
    if first < 0:
        return first
    other = (first + 1 + <int32_t>draw(p, p.n - 1)) % <int32_t>p.n
    a = p.choices + first
    b = p.choices + other
    if open_to(b, other, now_ms, tried) and (<int64_t>busy(b) + 1) * a.weight <= <int64_t>busy(a) * b.weight:
        return other
    return first


cdef int32_t pick(Picker* p, int64_t now_ms, uint64_t tried) noexcept nogil:
    cdef int32_t found
    if p.n == 1:                                    # down or not, it is the only one
        return 0 if p.choices[0].weight != 0 and not tried & 1 else -1
    if p.mode == PICK_ROUND_ROBIN:
        found = next_turn(p, now_ms, tried)
    elif p.equal:
        found = less_busy_of_two(p, now_ms, tried)
    else:
        found = turn_or_freer(p, now_ms, tried)
    return found if found >= 0 else first_back(p, tried)


MODES = {"round-robin": PICK_ROUND_ROBIN, "least-request": PICK_LEAST_REQUEST}


@cython.final
cdef class Balancer:
    def __cinit__(self, Segment segment not None, endpoints, str mode not None, uint64_t seed=1):
        cdef uint32_t i
        self.segment = segment
        self.choices = <Choice*>calloc(max(1, len(endpoints)), sizeof(Choice))
        if self.choices == NULL:
            raise MemoryError
        for i, (key, weight) in enumerate(endpoints):
            self.choices[i].state = shm_endpoint(segment, segment.endpoint_slot(key))
            self.choices[i].weight = weight
        picker_init(&self.picker, self.choices, <uint32_t>len(endpoints), MODES[mode], seed)

    def __dealloc__(self):
        free(self.choices)

    def pick(self, int64_t now_ms, tried=()):
        cdef uint64_t marks = 0
        for index in tried:
            marks |= pick_bit(index)
        return pick(&self.picker, now_ms, marks)


def _repeat(Balancer balancer not None, uint64_t times):
    cdef uint64_t _
    cdef int64_t total = 0
    with nogil:
        for _ in range(times):
            total += pick(&balancer.picker, 1, 0)
    return total
