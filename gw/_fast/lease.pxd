"""Leases: units that a ledger granted to this node, spent by all of its workers. docs/leases.md has the whole.

A lease lies in a cell of the table that gw._fast.bucket keeps, under a tag of its own kind. Its value is the time until which it is good, in ticks rounded
to 2 ** 24 of them (4096 us), and in the low 24 bits its state:

    bit 23      asked: the supervisor was told that this key needs units
    bit 22      final: nothing is to be had until the time is over; with `asked`: because the ledger is away
    bit 21      ended: units of a lease whose time was over when more were asked for; only the supervisor may take them
    bits 17-20  low: ask for more when fewer than 2 ** (low - 1) units are left; 0: when a request finds too few
    bits 0-16   units
    bits 0-20   where it is final: seconds from its time until there is something to be had

A worker takes units by one swap. Only the supervisor puts units in, and it learns by that swap how many of the lease before were not spent, so that each unit
granted is spent once or given back once; one is lost where a cell changes hands before the supervisor has closed its lease, which counts it as spent.

A tally says what the ledger still had when it granted: (time until which it is worth telling, in 2 ** 32 ticks, about a second | that in the low 32 bits).
Only the supervisor writes it, and nothing but what clients and operators are told depends on it.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t

from gw._fast.hash cimport Hash
from gw._fast.shm cimport LimitTable, Segment


cdef enum:                      # what is answered; the first three as LIMIT_*
    LEASE_PASS = 0
    LEASE_REFUSE = 1            # nothing until LeaseOut.retry_us is over
    LEASE_FULL = 2              # no cell is to be had
    LEASE_WAIT = 3              # units are on their way
    LEASE_AWAY = 4              # refused because the ledger is away

cdef enum:
    LEASE_MAX = 65536           # units of one grant
    LOW_MAX = 15


cdef struct LeaseOut:
    uint32_t units              # left in the lease
    int64_t retry_us            # where it is refused: from now until there is something to be had
    bint asks                   # the caller has to tell the supervisor: nobody else does


# Take `cost` units, 1 to LEASE_MAX. key: of one limit and one key of it, under a seed that descends from table.seed. now_us: CLOCK_MONOTONIC.
cdef int lease_take(LimitTable* table, Hash key, uint32_t cost, int64_t now_us, LeaseOut* out) noexcept nogil
# Of all of n leases or of none; every one that lacks units is asked for. The answer is that of the worst: away, refuse, full, wait.
cdef int lease_take_all(LimitTable* table, const Hash* keys, uint32_t n, uint32_t cost, int64_t now_us, LeaseOut* outs) noexcept nogil
# Units of a take that was not used. Where the lease has ended since, they count as spent.
cdef void lease_give_back(LimitTable* table, Hash key, uint32_t cost, int64_t now_us) noexcept nogil
# Nothing came of asking: the next request asks anew.
cdef void lease_ask_anew(LimitTable* table, Hash key) noexcept nogil
# That could be taken now.
cdef uint32_t lease_units(LimitTable* table, Hash key, int64_t now_us) noexcept nogil
# Units that the ledger had left at the grant; -1: not known.
cdef int64_t lease_tallied(LimitTable* table, Hash key, int64_t now_us) noexcept nogil

# The supervisor alone. Each returns the units that were not spent of the lease before.
# A new lease in place of what there was; -1 where no cell is to be had.
cdef int64_t lease_grant(LimitTable* table, Hash key, uint32_t units, uint8_t low, int64_t until_us, int64_t now_us) noexcept nogil
# There is nothing for now: who finds fewer than `want` units is refused until until_us, and told to come back after retry_us. While as many are left, they are
# spent first and nobody asks for more.
cdef int64_t lease_refuse(LimitTable* table, Hash key, uint32_t want, bint away, int64_t until_us, int64_t retry_us, int64_t now_us) noexcept nogil
cdef int64_t lease_close(LimitTable* table, Hash key) noexcept nogil
cdef void lease_tally(LimitTable* table, Hash key, int64_t left, int64_t until_us, int64_t now_us) noexcept nogil


cdef class Leases:
    cdef Segment segment        # owned: keeps the table alive
    cdef Hash seed              # of the keys of this identity
