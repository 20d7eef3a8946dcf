"""Leases against a slow one, cells that change hands, and many processes at once: nobody spends what was not granted."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw._fast.bucket import Limits
from gw._fast.lease import Leases, Spent, _repeat
from gw._fast.shm import Segment
from tests.reference.lease import Lease
from tests.unit.fast.test_bucket import FULL, SharedClock, answers, fork

SECOND = 1_000_000  # us
NOW = 5_000 * 4096 * 1000

actions = st.one_of(
    st.tuples(st.just("take"), st.integers(1, 6)),
    st.tuples(st.just("grant"), st.integers(1, 40), st.integers(0, 5), st.integers(4096, 3 * SECOND)),
    st.tuples(st.just("refuse"), st.integers(1, 6), st.booleans(), st.integers(1, 3 * SECOND), st.integers(0, 9 * SECOND)),
    st.tuples(st.just("close")),
    st.tuples(st.just("give_back"), st.integers(1, 3)),
)


def leases(cells: int = 65_536, identity: bytes = b"lease") -> Leases:
    return Leases(Segment(4, 1, 1, cells), identity)


@given(st.lists(st.tuples(st.integers(0, 2), st.one_of(st.integers(0, 5_000), st.integers(0, 900_000)), actions), max_size=60))
def test_leases_are_what_the_slow_one_says(steps: list[tuple[int, int, tuple]]) -> None:
    found, now = leases(), NOW
    expected = [Lease() for _ in range(3)]
    keys = [found.key(b"%d" % number) for number in range(3)]
    granted = spent = returned = 0
    for number, later, (action, *values) in steps:
        now += later
        key, slow = keys[number], expected[number]
        if action == "take":
            cost = values[0]
            got = slow.take(cost, now)
            assert found.take(key, cost, now) == got
            spent += cost if got[0] == "pass" else 0
        elif action == "grant":
            units, low, lasting = values
            rest = found.grant(key, units, low, now + lasting, now)
            assert rest == slow.grant(units, 1 << (low - 1) if low else 0, now + lasting)
            granted += units
            returned += rest or 0
        elif action == "refuse":
            want, away, lasting, retry = values
            rest = found.refuse(key, want, away, now + lasting, retry, now)
            assert rest == slow.refuse(want, "away" if away else "refuse", now + lasting, retry, now)
            returned += rest
        elif action == "close":
            rest = found.close(key)
            assert rest == slow.close()
            returned += rest
        elif spent >= values[0]:
            found.give_back(key, values[0], now)
            spent -= values[0] if slow.give_back(values[0], now) else 0
        assert found.read(key, now)[0] == (slow.units if now < slow.until and not slow.final else 0)
    assert granted == spent + returned + sum(found.close(key) for key in keys)


def test_who_finds_nothing_asks_once_and_all_wait() -> None:
    found = leases()
    key = found.key(b"k")
    assert [found.take(key, 1, NOW) for _ in range(3)] == [Spent("wait", True, 0, 0), Spent("wait", False, 0, 0), Spent("wait", False, 0, 0)]
    assert found.grant(key, 2, 0, NOW + SECOND, NOW) == 0
    assert [found.take(key, 1, NOW).verdict for _ in range(3)] == ["pass", "pass", "wait"]


def test_an_ask_without_an_answer_is_made_again() -> None:
    found = leases()
    key = found.key(b"k")
    assert found.take(key, 1, NOW).asks
    assert not found.take(key, 1, NOW + 200_000).asks
    assert found.take(key, 1, NOW + 300_000).asks
    assert not found.take(key, 1, NOW + 300_000).asks
    found.ask_anew(key)
    assert found.take(key, 1, NOW + 300_000).asks


def test_more_is_asked_for_ahead_of_time_and_the_rest_comes_back_by_the_next_grant() -> None:
    found = leases()
    key = found.key(b"k")
    found.grant(key, 10, 3, NOW + SECOND, NOW)
    assert [found.take(key, 1, NOW).asks for _ in range(8)] == [False] * 6 + [True, False]
    assert found.grant(key, 5, 0, NOW + SECOND, NOW) == 2
    assert found.read(key, NOW)[0] == 5


def test_what_is_left_is_spent_before_anybody_is_refused() -> None:
    found = leases()
    key = found.key(b"k")
    found.grant(key, 2, 0, NOW + SECOND, NOW)
    assert found.refuse(key, 1, False, NOW + SECOND, 50 * SECOND, NOW) == 0
    assert [found.take(key, 1, NOW).verdict for _ in range(3)] == ["pass", "pass", "wait"]
    assert found.refuse(key, 1, False, NOW + SECOND, 50 * SECOND, NOW) == 0
    refused = found.take(key, 1, NOW)
    assert refused.verdict == "refuse"
    assert 49 * SECOND < refused.retry_us <= 50 * SECOND
    assert found.take(key, 1, NOW + 2 * SECOND) == Spent("wait", True, 0, 0)


def test_of_several_leases_all_are_taken_from_or_none() -> None:
    found = leases()
    keys = [found.key(b"%d" % number) for number in range(3)]
    assert found.take_all(keys, 1, NOW) == ("wait", [(True, 0, 0)] * 3)
    for key in keys[:2]:
        found.grant(key, 3, 0, NOW + SECOND, NOW)
    found.refuse(keys[2], 1, False, NOW + SECOND, SECOND, NOW)
    assert found.take_all(keys, 1, NOW)[0] == "refuse"
    assert [found.read(key, NOW)[0] for key in keys] == [3, 3, 0]
    found.grant(keys[2], 1, 0, NOW + SECOND, NOW)
    assert [found.take_all(keys, 1, NOW)[0] for _ in range(2)] == ["pass", "wait"]
    assert [found.read(key, NOW)[0] for key in keys] == [2, 2, 0]
    with pytest.raises(ValueError, match="from 1 to 8 leases"):
        found.take_all([], 1, NOW)


@pytest.mark.parametrize(("verdicts", "worst"), [("pw", "wait"), ("fw", "refuse"), ("afw", "away"), ("faw", "away"), ("wpf", "refuse")])
def test_the_worst_answer_counts(verdicts: str, worst: str) -> None:
    found = leases()
    keys = [found.key(b"%d" % number) for number in range(len(verdicts))]
    for key, each in zip(keys, verdicts, strict=True):
        if each == "p":
            found.grant(key, 1, 0, NOW + SECOND, NOW)
        elif each != "w":
            found.refuse(key, 1, each == "a", NOW + SECOND, 0, NOW)
    assert found.take_all(keys, 1, NOW)[0] == worst


def test_the_tally_is_told_until_its_time() -> None:
    found = leases()
    key = found.key(b"k")
    assert found.read(key, NOW) == (0, None)
    for left in (7, 3, 2**40):
        found.tally(key, left, NOW + 3 * SECOND, NOW)
        assert found.read(key, NOW)[1] == min(left, 2**32 - 1)
    assert found.read(key, NOW + 6 * SECOND)[1] is None


def test_a_lease_that_is_over_gives_its_cell_away() -> None:
    found = leases(1)
    keys = [found.key(b"%d" % number) for number in range(FULL + 1)]
    for key in keys[:FULL]:
        found.grant(key, 1, 0, NOW + SECOND, NOW)
    assert found.take(keys[FULL], 1, NOW).verdict == "full"
    assert found.grant(keys[FULL], 1, 0, NOW + SECOND, NOW) is None
    later = NOW + 3 * SECOND
    assert found.grant(keys[FULL], 1, 0, later + SECOND, later) == 0
    assert found.take(keys[FULL], 1, later).verdict == "pass"


def test_leases_tallies_and_rates_of_one_key_do_not_touch_each_other() -> None:
    segment = Segment(1, 1, 1, 1024)
    found, rates = Leases(segment, b"i"), Limits(segment, b"i")
    key = found.key(b"k")
    found.grant(key, 5, 0, NOW + SECOND, NOW)
    found.tally(key, 9, NOW + SECOND, NOW)
    assert rates.take(b"k", 1, SECOND, 2, 1, NOW).verdict == "pass"
    assert rates.enter(0, b"k", 5, NOW)[:2] == ("pass", 1)
    assert (found.read(key, NOW), rates.occupancy(NOW)) == ((5, 9), 4)


@pytest.mark.parametrize(("length", "cost", "message"), [(15, 1, "has 16 bytes, not 15"), (16, 0, "from 1 to 65536 units"), (16, 65_537, "from 1 to 65536 units")])
def test_what_is_no_key_or_no_cost(length: int, cost: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        leases().take(b"k" * length, cost, NOW)
    with pytest.raises(ValueError, match=r"raise process\.limit_cells"):
        Leases(Segment(1, 1, 1))


def test_processes_spend_exactly_what_was_granted() -> None:
    found = leases()
    key = found.key(b"k")
    found.grant(key, 50_000, 0, NOW + SECOND, NOW)
    assert sum(answers(*[lambda: _repeat(found, key, 20_000, NOW)] * 6)) == 50_000


@pytest.mark.parametrize(("keys", "step", "turns"), [(3, 2_000, 1_000), (40, 40_000, 8_000)])
def test_no_more_is_spent_than_granted_whatever_happens_at_once(keys: int, step: int, turns: int) -> None:
    """One set for all keys; two processes take and give back while a third grants, refuses and closes, on clocks that differ."""
    found, processes = leases(1), 3
    clock = SharedClock(processes, step)
    names = [found.key(b"%d" % number) for number in range(keys)]
    counts = fork.RawArray("q", keys)

    def work(process: int) -> list[int]:
        spent, now, choice = [0] * keys, NOW, random.Random(process)
        while now < NOW + turns * step:
            number, now = choice.randrange(keys), clock.look(process)
            cost = choice.randrange(1, 4)
            if found.take(names[number], cost, now).verdict == "pass":
                spent[number] += cost
        clock.leave(process)
        return spent

    def supervise(process: int) -> list[int]:
        now, choice = NOW, random.Random(process)
        while now < NOW + turns * step:
            number, now = choice.randrange(keys), clock.look(process)
            what = choice.random()
            if what < 0.5:
                units = choice.randrange(1, 30)
                rest = found.grant(names[number], units, choice.randrange(4), now + choice.randrange(4096, 40 * step), now)
                counts[number] += units - rest if rest is not None else 0
            elif what < 0.7:
                counts[number] -= found.refuse(names[number], 2, False, now + step, 0, now)
            else:
                counts[number] -= found.close(names[number])
        clock.leave(process)
        return list(counts)

    first, second, kept = answers(lambda: work(0), lambda: work(1), lambda: supervise(2))
    for number in range(keys):
        assert first[number] + second[number] <= kept[number] - found.close(names[number])
    assert sum(first) + sum(second) > 0
