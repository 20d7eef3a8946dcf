"""Rate limits and numbers in flight, exact across workers: cells in the shared segment, changed by 16-byte compare-and-swap.

A cell is (tag, value). The tag is 61 bits of a keyed hash and three that say what the value is (cell.pxd has what all kinds share):
- of a rate (GCRA): the theoretical arrival time (TAT), when the bucket will be full again, in ticks. To take is to move it on by cost * interval; that
  is refused when it would come to lie further ahead of now than a whole bucket. Every take that passes is one swap from the state it was judged by.
- of a number in flight: when it last changed, in ticks, with the number in the low 24 bits.
- of a lease or a tally: how long it is good, in ticks, with what is left in the low bits (gw._fast.lease).

A rate whose TAT has passed is a full bucket, nothing in flight is nothing: both are as good as no cell, so GRACE (a second) after that any other key may
have it, and nothing has to sweep. GRACE covers that clocks differ: now_us must be CLOCK_MONOTONIC not older than GRACE / 2. Then for every key and all of its takes
whose now_us lie in [a, b], whatever the workers do: passed <= burst + (b - a) / interval. Proof: a TAT moves on by at least what is taken, starts at or
after a, and may not end later than b + burst * interval; where a cell changed hands in between, its TAT lay before the now_us of every later take.

That holds if a key never has two cells. A cell therefore goes (owner, v) -> (0, v) -> (next owner, more than v), and only the claim of its set fills an empty
one. A claim is (tag, turn | index of the cell), and (0, turn) when it is settled; turns only count up.
1. Who finds no cell reads the claim. If it is open, whoever comes settles it: nobody waits for a worker that stopped or died.
2. It looks for its tag again and for an empty cell, then swaps the claim from what it read. Cells are filled by claims only, so if that succeeds,
   there was no cell of this tag and the empty one is still empty.
3. To settle: read the cell; if it is empty and the claim is still the same one, swap (0, v) for (tag, fresh); then close the claim. A claim is closed
   only after its cell was seen filled. Who comes late with a swap fails: the value of an empty cell is larger each time, so that (0, v) is never there again.
   For that, whoever writes a cell writes a value above any that it was emptied with: those lie GRACE before the now of who emptied it, so that every time
   which is not before the now of its writer lies above them.

Who is killed between these steps leaves nothing behind but a claim that the next one settles.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from gw._fast.hash cimport Hash
from gw._fast.shm cimport LimitCell, LimitTable, Segment


# In a table half full 3 of 100,000 new keys meet LIMIT_FULL, 1 of 100 where four of five cells are in use. Open or closed is the caller's to say.
cdef enum:                      # what is answered
    LIMIT_PASS = 0
    LIMIT_REFUSE = 1
    LIMIT_FULL = 2              # nothing was counted: every cell of this key's set holds another's

cdef enum:
    LIMIT_NEVER = -1            # LimitOut.retry_after_us: it costs more than the bucket holds


cdef struct Window:             # as window_init sets it
    int64_t interval            # ticks (1 / 4096 us) in which one unit comes back, rounded up: the limit is never exceeded, and undershot by less than 1 / 4096 us a unit
    int64_t capacity            # ticks: burst * interval
    uint32_t burst
    uint64_t salt               # keeps windows over the same key apart; the same for the same rate, period and burst


cdef struct LimitOut:
    int64_t remaining           # units that would pass now
    int64_t reset_us            # until the bucket is full
    int64_t retry_after_us      # until this cost passes; 0 when it passes or passed
    LimitCell* cell             # borrowed from the segment; what was taken, for limit_give_back: NULL when nothing was
    uint64_t tag
    int64_t value
    int64_t charge


cdef struct InflightOut:        # not set where LIMIT_FULL is answered
    uint32_t cell               # for inflight_leave; set by a pass
    uint32_t count              # in flight, this one included if it passed


# The cell of this tag, claimed if there is none, in the set that `bits` choose; NULL when all are in use. now: ticks.
cdef LimitCell* cell_of(LimitTable* table, uint64_t bits, uint64_t tag, int64_t now) noexcept nogil

# `rate` units every per_us microseconds, at most `burst` at once. ValueError where that cannot be kept.
cdef int window_init(Window* window, int64_t rate, int64_t per_us, int64_t burst, Hash seed) except -1

# The table must have cells. Keys are hashes under a seed that descends from table.seed.
# Take `cost` units; a cost of 0 or above the burst takes nothing. now_us: CLOCK_MONOTONIC.
cdef int limit_take(LimitTable* table, Hash key, const Window* window, uint32_t cost, int64_t now_us, LimitOut* out) noexcept nogil
# What limit_take would say, without a change; never LIMIT_FULL.
cdef int limit_peek(LimitTable* table, Hash key, const Window* window, uint32_t cost, int64_t now_us, LimitOut* out) noexcept nogil
# Undo a take of at most GRACE / 2 ago, or one that leaves a bucket which is not full yet. Only while no other take lies on top of it: then it is as if it had
# not been. Otherwise (False) the charge stays, since part of it may have come back already: less than the limit may pass then, never more.
cdef bint limit_give_back(LimitOut* out) noexcept nogil
# All of n windows or none. Peeks first, so that a refusal charges nothing. Where another worker is quicker between peek and take, or a cell is not to be had,
# what was taken is given back as limit_give_back does. outs has n entries; the answer is that of the first window that did not pass.
cdef int limit_take_all(LimitTable* table, Hash key, const Window* windows, uint32_t n, uint32_t cost, int64_t now_us, LimitOut* outs) noexcept nogil

# One more in flight unless `limit` are. Every pass has one leave, by the same worker.
cdef int inflight_enter(LimitTable* table, uint32_t worker, Hash key, uint32_t limit, int64_t now_us, InflightOut* out) noexcept nogil
cdef void inflight_leave(LimitTable* table, uint32_t worker, uint32_t cell, int64_t now_us) noexcept nogil


cdef class Limits:              # limits of one identity, for Python callers
    cdef Segment segment        # owned: keeps the table alive
    cdef Hash seed              # of the keys of this identity
    cdef LimitOut last          # of the last take, for give_back
    cdef Hash _hash(self, bytes key) noexcept
