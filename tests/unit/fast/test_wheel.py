"""Deadlines fire at most one tick late, never early, whatever is set, moved or cleared meanwhile."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gw._fast.probe import TICK_MS, Wheel

START = 1_000_000_007  # ms; no multiple of a tick
TIMERS = 12
HORIZON_MS = 2048 * TICK_MS

index = st.integers(0, TIMERS - 1)
ahead = st.one_of(st.integers(-200, 3 * TICK_MS), st.integers(0, 5000), st.integers(HORIZON_MS - 500, HORIZON_MS + 500), st.integers(0, 4 * HORIZON_MS))
steps = st.one_of(st.integers(0, 2 * TICK_MS), st.integers(0, 3000), st.integers(0, 3 * HORIZON_MS))


class Deadlines(RuleBasedStateMachine):
    """Beside a dictionary of deadlines."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.wheel = Wheel(TIMERS, START, self.handled)
        self.deadlines: dict[int, int] = {}
        self.touched: set[int] = set()  # by handlers of this advance
        self.in_handler: list[tuple[str, int, int]] = []

    @rule(at=index, by=ahead)
    def set(self, at: int, by: int) -> None:
        self.wheel.set(at, self.now + by)
        self.deadlines[at] = self.now + by

    @rule(at=index)
    def off(self, at: int) -> None:
        self.wheel.off(at)
        self.deadlines.pop(at, None)

    @rule(at=index)
    def clear(self, at: int) -> None:
        self.wheel.clear(at)
        self.deadlines.pop(at, None)

    @rule(what=st.lists(st.tuples(st.sampled_from(["set", "off", "clear"]), index, ahead), max_size=4))
    def the_next_handler_does(self, what: list[tuple[str, int, int]]) -> None:
        self.in_handler = what

    def handled(self, wheel: Wheel, fired: int) -> None:
        """A handler may touch any timer, its own too."""
        assert self.deadlines.pop(fired) <= self.now
        what, self.in_handler = self.in_handler, []
        self.touched |= {at for _, at, _ in what}
        for verb, at, by in what:
            if verb == "set":
                self.set(at, by)
            else:
                getattr(self, verb)(at)

    @rule(by=steps)
    def advance(self, by: int) -> None:
        waiting, slept_since = set(self.deadlines), self.now
        self.touched = set()
        self.now += by
        self.wheel.advance(self.now)
        late = [at for at in waiting & set(self.deadlines) - self.touched if max(self.deadlines[at], slept_since) <= self.now - TICK_MS]
        assert not late

    @invariant()
    def the_wheel_knows_what_was_set(self) -> None:
        assert {at: found for at in range(TIMERS) if (found := self.wheel.deadline(at)) is not None} == self.deadlines


TestDeadlines = Deadlines.TestCase
TestDeadlines.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@given(st.lists(st.integers(0, 6000), min_size=1, max_size=TIMERS))
def test_a_clock_that_moves_by_one_millisecond_sees_them_within_a_tick(delays: list[int]) -> None:
    wheel = Wheel(len(delays), START)
    for at, delay in enumerate(delays):
        wheel.set(at, START + delay)
    fired: dict[int, int] = {}
    for now in range(START, START + 6200):
        for at in wheel.advance(now):
            assert at not in fired
            fired[at] = now
    assert all(START + delay <= fired[at] <= START + delay + TICK_MS for at, delay in enumerate(delays))


def test_one_that_is_moved_away_again_and_again_never_fires() -> None:
    wheel = Wheel(1, START)
    for now in range(START, START + 3 * HORIZON_MS, 37):
        wheel.set(0, now + 60)
        assert wheel.advance(now) == []
    assert wheel.advance(now + 60 + TICK_MS) == [0]
    assert wheel.deadline(0) is None


def test_a_long_sleep_fires_everything_once() -> None:
    wheel = Wheel(TIMERS, START)
    for at in range(TIMERS):
        wheel.set(at, START + at * HORIZON_MS // 2)
    assert sorted(wheel.advance(START + 100 * HORIZON_MS)) == list(range(TIMERS))
    assert wheel.advance(START + 200 * HORIZON_MS) == []
