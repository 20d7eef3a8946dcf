cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdlib cimport calloc, free

from gw._fast.answer cimport R_LIMITS_AWAY, R_QUOTA_EXCEEDED, R_RATE_LIMITED
from gw._fast.hash cimport hash_key
from gw._fast.lease cimport (
    LEASE_AWAY, LEASE_FULL, LEASE_MAX, LEASE_PASS, LEASE_WAIT, lease_ask_anew, lease_take_all, lease_tallied, lease_units,
)
from gw._fast.limit cimport SEEN_REFUSED, limit_full, limit_key, limit_refuses, limit_tells
from gw._fast.plane cimport STEP_NEXT, STEP_PARK, Exchange
from gw._fast.selector cimport selector_text
from gw._fast.shm cimport Segment
from gw._fast.step cimport waiting_add, waiting_init, waiting_remove, waiting_wake
from gw._fast.wheel cimport timer_set
from gw._fast.words cimport lists

cdef enum:
    LOOK_MS = 50                        # between two looks of one that nobody woke: a tick of the wheel
    WAIT_US = 1_000_000                 # longest wait: the supervisor answers in milliseconds, but a reload or a slow disk can hold it up
    TIERS_MAX = 64
    OFFLINE_LOOKS = 3                   # an ask is answered before it returns


cdef uint32_t _tier(const Spending* s, const Exchange* x) noexcept nogil:
    """The first group in which the consumer or its credential is."""
    cdef uint32_t found = 0, i
    if s.n_tiers == 1:
        return 0
    if x.identity.consumer != NULL:
        found = s.tier_of[x.identity.consumer.index]
    if x.identity.groups_len:
        for i in range(1, found if found else s.n_tiers):
            if lists(x.identity.groups, x.identity.groups_len, c",", s.groups + i - 1):
                return i
    return found


cdef void _tell(Spending* s, Exchange* x) noexcept nogil:
    cdef Tier* tier = s.tiers + s.tier
    cdef int64_t now_us = x.lane.reactor.now_us
    cdef int64_t tally
    cdef uint32_t i
    for i in range(s.n):
        tally = lease_tallied(s.limit.table, s.keys[i], now_us)
        tier.telling.figures[i].remaining = s.outs[i].units + max(0, tally)
        if tier.windows[i].calendar:
            if tier.windows[i].ends_us <= now_us:
                with gil:
                    (<LeaseStep>s.owner)._learn_end(s.tier, i, now_us, x.lane.reactor.wall_us)
            tier.telling.figures[i].reset_us = tier.windows[i].ends_us - now_us
    limit_tells(&tier.telling, x)


cdef int _take(Spending* s, Exchange* x, Hash key) noexcept nogil:
    """LEASE_*; asks for what is lacking where nobody has."""
    cdef const Tier* tier
    cdef uint32_t i
    s.tier = _tier(s, x)
    tier = s.tiers + s.tier
    s.n = tier.telling.n
    for i in range(s.n):
        s.keys[i].lo = key.lo ^ tier.windows[i].salt
        s.keys[i].hi = key.hi ^ tier.windows[i].salt
    s.verdict = lease_take_all(s.limit.table, s.keys, s.n, s.cost, x.lane.reactor.now_us, s.outs)
    for i in range(s.n):
        if s.outs[i].asks:
            with gil:
                (<LeaseStep>s.owner)._ask(x, i)
    return s.verdict


cdef int _refuse(Spending* s, Exchange* x) noexcept nogil:
    cdef uint32_t i, longest = 0
    for i in range(s.n):
        if s.outs[i].retry_us > s.outs[longest].retry_us:
            longest = i
    s.retry_us = s.outs[longest].retry_us
    if s.verdict == LEASE_AWAY:
        return limit_refuses(&s.limit, x, R_LIMITS_AWAY, s.retry_us)
    if s.tells:
        _tell(s, x)
    return limit_refuses(&s.limit, x, R_RATE_LIMITED if s.tiers[s.tier].windows[longest].rate else R_QUOTA_EXCEEDED, s.retry_us)


cdef int _give_up(Spending* s, Exchange* x) noexcept nogil:
    """Nobody has answered: the next one asks again."""
    cdef uint32_t i
    for i in range(s.n):
        if lease_units(s.limit.table, s.keys[i], x.lane.reactor.now_us) < s.cost:
            lease_ask_anew(s.limit.table, s.keys[i])
    s.verdict = LEASE_AWAY
    s.retry_us = 0
    return limit_refuses(&s.limit, x, R_LIMITS_AWAY, 0) if s.limit.closed else STEP_NEXT


cdef int _look(Spending* s, Exchange* x) noexcept nogil:
    """The step's answer, or STEP_PARK where there is none yet."""
    cdef Hash key
    cdef int verdict
    s.verdict = LEASE_PASS
    s.n = 0
    if not limit_key(&s.limit, x, &key, &verdict):
        return verdict
    verdict = _take(s, x, key)
    if verdict == LEASE_WAIT:
        return STEP_PARK
    if verdict == LEASE_FULL:
        return limit_full(&s.limit, x)
    if verdict != LEASE_PASS:
        return _refuse(s, x)
    if s.tells:
        _tell(s, x)
    return STEP_NEXT


cdef int _spend(void* self, Exchange* x) noexcept nogil:
    cdef Spending* s = <Spending*>self
    cdef int verdict = _look(s, x)
    cdef int looks = OFFLINE_LOOKS if x.view_of != NULL else 0
    while verdict == STEP_PARK and looks:
        verdict = _look(s, x)
        looks -= 1
    if verdict != STEP_PARK:
        return verdict
    if x.view_of != NULL:
        return _give_up(s, x)
    x.park.since_us = x.lane.reactor.now_us
    x.park.wait_ms = LOOK_MS
    waiting_add(&s.waiting, x, _leave)
    return STEP_PARK


cdef void _leave(Exchange* x, bint ended) noexcept nogil:
    waiting_remove(&(<Spending*>x.parked_at.self).waiting, x)
    if not ended:
        _go_on(x)
        if x.park.leave != NULL:
            timer_set(&x.client.reactor.wheel, &x.client.timer, x.lane.reactor.now_ms + LOOK_MS)


cdef void _go_on(Exchange* x) noexcept nogil:
    """Looks again for one that waits no longer; it waits on if there is nothing yet."""
    cdef Spending* s = <Spending*>x.parked_at.self
    cdef int verdict = _look(s, x)
    if verdict == STEP_PARK and x.lane.reactor.now_us - x.park.since_us < WAIT_US:
        waiting_add(&s.waiting, x, _leave)
        return
    x.lane.resume(x, _give_up(s, x) if verdict == STEP_PARK else verdict)


@cython.final
cdef class LeaseStep(LimitStep):
    def __init__(
        self, name: str, Segment segment not None, by: list, *, identity: bytes, missing: str, closed: bool, dry: bool, cost: int, tells: bool, away: str,
        tiers: list, groups: list, tier_of: bytes,
    ) -> None:
        cdef Spending* s = &self.spending
        LimitStep.__init__(self, name, segment, by)
        self._count(&s.limit, identity, missing, closed, dry)
        if not 1 <= cost <= LEASE_MAX:
            raise ValueError(f"a request can cost from 1 to {LEASE_MAX} units, not {cost}")
        if len(tiers) > TIERS_MAX or len(groups) != len(tiers) - 1:
            raise ValueError(f"at most {TIERS_MAX - 1} groups can have a limit of their own, not {len(groups)}")
        s.cost = cost
        s.tells = tells
        s.owner = <void*>self
        waiting_init(&s.waiting)
        self.away = away
        self.meters = [[meter for meter, *_ in tier] for tier in tiers]
        self.ends = [[end for *_, end in tier] for tier in tiers]
        self._fill(tiers, groups, tier_of)
        self.request.run = _spend
        self.request.self = s

    def __dealloc__(self):
        free(self.spending.tiers)
        free(<void*>self.spending.groups)

    cdef _fill(self, list tiers, list groups, bytes tier_of):
        cdef Spending* s = &self.spending
        cdef Window* window
        cdef Word* word
        cdef bytes text
        s.tiers = <Tier*>calloc(len(tiers), sizeof(Tier))
        s.groups = word = <Word*>calloc(len(groups) + 1, sizeof(Word))
        if s.tiers == NULL or word == NULL:
            raise MemoryError
        for group in groups:
            text = group.encode()
            self.held.append(text)
            word.text = PyBytes_AS_STRING(text)
            word.len = <uint32_t>len(text)
            word += 1
        self.held.append(tier_of)
        s.tier_of = <const uint8_t*>PyBytes_AS_STRING(tier_of)
        s.n_tiers = <uint32_t>len(tiers)
        for i, tier in enumerate(tiers):
            self._labels(&s.tiers[<int>i].telling, [(label, units, seconds) for _, _, label, units, seconds, _, _ in tier])
            for j, (_meter, salt, _label, _units, _seconds, rate, end) in enumerate(tier):
                window = &s.tiers[<int>i].windows[<int>j]
                window.salt = hash_key(PyBytes_AS_STRING(salt), len(salt), s.limit.seed).lo
                window.rate = rate
                window.calendar = end is not None
                s.tiers[<int>i].telling.figures[<int>j].reset_us = -1

    def attach(self, report) -> None:
        self.report = report

    @property
    def waiting(self) -> int:
        return self.spending.waiting.n

    def wake(self) -> None:
        with nogil:
            waiting_wake(&self.spending.waiting, _go_on)

    cdef _ask(self, void* exchange, uint32_t window):
        cdef Spending* s = &self.spending
        if self.report is not None:
            key = selector_text(s.limit.parts, s.limit.n_parts, <Exchange*>exchange)
            place = (<const char*>&s.keys[window])[:sizeof(Hash)]
            self.report("units-wanted", {"meter": self.meters[s.tier][window], "key": key, "place": place, "want": s.cost, "away": self.away})

    cdef _learn_end(self, uint32_t tier, uint32_t window, int64_t now_us, int64_t wall_us):
        end_s = self.ends[tier][window]((now_us + wall_us) / 1e6)
        self.spending.tiers[tier].windows[window].ends_us = max(now_us + 1, <int64_t>(end_s * 1e6) - wall_us)

    cdef str told(self, Exchange* x, int verdict):
        cdef Spending* s = &self.spending
        cdef uint32_t i, least = 0
        if s.verdict == LEASE_AWAY:
            return self._told(&s.limit, x, "the ledger cannot be asked")
        left = [s.outs[i].units + max(0, lease_tallied(s.limit.table, s.keys[i], x.lane.reactor.now_us)) for i in range(s.n)]
        for i in range(s.n):
            if left[i] < left[least]:
                least = i
        of = self.meters[s.tier][least].units if s.n else 0
        if s.limit.seen == SEEN_REFUSED:
            return self._told(&s.limit, x, f"{left[least] if s.n else 0} of {of} left, next in {s.retry_us / 1e6:.3g} s")
        return self._told(&s.limit, x, f"{left[least] if s.n else 0} of {of} left")
