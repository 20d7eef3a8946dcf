"""What is taken is counted, what is given back is used again, and no more than `keep` lie unused."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from gw._fast.probe import Slab

KEEP = 3
buffers = Bundle("buffers")


class Accounting(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.slab = Slab(1000, KEEP)
        self.cap = 1000
        self.held: dict[int, int] = {}

    @rule(target=buffers)
    def take(self) -> int:
        free = self.slab.free
        address = self.slab.take()
        assert address not in self.held
        assert self.slab.capacity(address) >= self.cap
        assert self.slab.free <= free
        self.held[address] = self.slab.capacity(address)
        return address

    @rule(address=consumes(buffers))
    def give(self, address: int) -> None:
        free, cap = self.slab.free, self.held.pop(address)
        self.slab.give(address)
        assert self.slab.free == free + (free < KEEP and cap >= self.cap)

    @rule(cap=st.sampled_from([500, 1000, 4000]))
    def resize(self, cap: int) -> None:
        self.slab.resize(cap)
        self.cap = cap

    @rule()
    def clear(self) -> None:
        self.slab.clear()
        assert self.slab.free == 0

    @invariant()
    def counts_agree(self) -> None:
        assert self.slab.taken == len(self.held)
        assert self.slab.free <= KEEP
        assert self.slab.held >= sum(self.held.values())
        assert (self.slab.held == 0) == (self.slab.taken + self.slab.free == 0)


TestAccounting = Accounting.TestCase
TestAccounting.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_the_last_one_given_is_the_next_one_taken() -> None:
    slab = Slab(64, KEEP)
    first, second = slab.take(), slab.take()
    slab.give(first)
    slab.give(second)
    assert [slab.take(), slab.take()] == [second, first]
    with pytest.raises(KeyError):
        slab.give(1)
