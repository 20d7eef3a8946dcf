"""How long the Python hooks of a policy may hold a worker up, and what follows when they do for longer."""
from libc.stdint cimport int64_t, uint8_t, uint64_t

from gw._fast.shm cimport PolicyStats


cdef struct Budget:
    int64_t time_us             # a call that takes longer is over it; 0: no budget
    uint64_t window             # calls
    uint64_t most               # calls over it that a window may hold
    uint8_t quarantine          # beyond that the policy is set aside until the next revision; 0: it is only named
    uint8_t skips               # while it is, requests go on without it; 0: they are refused


# Count a call that took `us`. True when its window holds too many over the budget: a new one begins, before this one is full.
cdef inline bint budget_spent(const Budget* budget, PolicyStats* stats, int64_t us) noexcept nogil:
    cdef bint spent
    stats.window_calls += 1
    if us > budget.time_us:
        stats.over += 1
        stats.window_over += 1
    spent = stats.window_over > budget.most
    if spent or stats.window_calls >= budget.window:
        stats.window_calls = stats.window_over = 0
    return spent
