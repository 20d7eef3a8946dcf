from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from ctypes import c_int64
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw._fast.bucket import Limits, Taken, _repeat, _repeat_inflight, _repeat_keys
from gw._fast.shm import Segment
from tests.reference.bucket import Bucket, exact_interval, keeps_the_limit, kept_interval

SECOND = 1_000_000  # us
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
NOW = 5_000 * SECOND
FULL = 31  # cells of the smallest table
fork = multiprocessing.get_context("fork")

rates = st.tuples(st.integers(1, 100_000), st.sampled_from([1_000, SECOND, MINUTE, 3_600 * SECOND, DAY, 7_777_777]), st.integers(1, 365))


def limits(cells: int = 65_536, workers: int = 4, identity: bytes = b"limit") -> Limits:
    return Limits(Segment(workers, 1, 1, cells), identity)


@contextlib.contextmanager
def children(*works: Callable[[], Any]) -> Iterator[list[Any]]:
    """Run each in a forked process; gives the processes, and afterwards they must have ended."""
    started = [fork.Process(target=work) for work in works]
    for child in started:
        child.start()
    try:
        yield started
    finally:
        for child in started:
            child.join(50)
    assert [child.exitcode for child in started if child.exitcode] == []


def answers(*works: Callable[[], Any]) -> list[Any]:
    """What each returns in a process of its own."""
    pipes = [fork.Pipe(duplex=False) for _ in works]
    with children(*(lambda work=work, pipe=pipe: pipe[1].send(work()) for work, pipe in zip(works, pipes, strict=True))):
        for _, sender in pipes:
            sender.close()
        with contextlib.suppress(EOFError):  # children() tells of the one that failed
            found = [receiver.recv() for receiver, _ in pipes]
    for receiver, _ in pipes:
        receiver.close()
    return found


# rates


@given(rates, st.lists(st.tuples(st.integers(0, 2), st.one_of(st.integers(0, 3_000), st.integers(0, DAY)), st.integers(0, 5)), max_size=60))
def test_takes_are_what_exact_arithmetic_says(window: tuple[int, int, int], takes: list[tuple[int, int, int]]) -> None:
    rate, per_us, burst = window
    found, now = limits(), 0
    expected = [Bucket(kept_interval(rate, per_us), burst) for _ in range(3)]
    for key, later, cost in takes:
        now += later
        assert found.peek(b"%d" % key, rate, per_us, burst, cost, now) == expected[key].figures(cost, now)
        assert found.take(b"%d" % key, rate, per_us, burst, cost, now) == expected[key].take(cost, now)


@given(rates)
def test_an_interval_is_never_too_short(window: tuple[int, int, int]) -> None:
    rate, per_us, _ = window
    assert 0 <= kept_interval(rate, per_us) - exact_interval(rate, per_us) < Fraction(1, 4096)


@pytest.mark.parametrize(("rate", "per_us", "days"), [(3, SECOND, 30), (1000, MINUTE, 3), (7, 3_600 * SECOND, 365), (9_973, SECOND, 1)])
def test_there_is_no_drift(rate: int, per_us: int, days: int) -> None:
    step = per_us // rate // 2
    polls = days * DAY // step if days * DAY // step < 30_000_000 else 30_000_000
    passed = _repeat(limits(), b"k", rate, per_us, 3, polls, NOW, step)
    due = 3 + Fraction((polls - 1) * step * rate, per_us)
    assert due * (1 - Fraction(rate, 4096 * per_us)) - 2 < passed <= due


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 5 * SECOND), st.integers(1, 4)), max_size=60), st.integers(1, 9), st.integers(1, 9))
def test_no_clock_makes_more_pass(takes: list[tuple[int, int]], rate: int, burst: int) -> None:
    found = limits()
    passed = [(now, cost) for now, cost in takes if found.take(b"k", rate, SECOND, burst, cost, now).verdict == "pass"]
    within = [(min(max(now, 0), 2**50), cost) for now, cost in passed]
    assert keeps_the_limit(within, kept_interval(rate, SECOND), burst)


@pytest.mark.parametrize("now", [-(2**63), -1, 0, 1, 2**50, 2**63 - 1])
def test_a_burst_passes_whole_at_any_time(now: int) -> None:
    found = limits()
    assert [found.take(b"k", 1, DAY, 3, 1, now).verdict for _ in range(4)] == ["pass"] * 3 + ["refuse"]


def test_what_can_never_pass_says_so_and_costs_nothing() -> None:
    found = limits()
    assert found.take(b"k", 10, SECOND, 5, 6, NOW) == Taken("refuse", 5, 0, -1)
    assert found.take(b"k", 10, SECOND, 5, 2**32 - 1, NOW) == Taken("refuse", 5, 0, -1)
    assert found.take(b"k", 10, SECOND, 5, 5, NOW) == Taken("pass", 0, 500_000, 0)
    assert found.take(b"k", 10, SECOND, 5, 6, NOW) == Taken("refuse", 0, 500_000, -1)


def test_windows_identities_and_keys_do_not_touch_each_other() -> None:
    segment = Segment(1, 1, 1, 1024)
    first, second = Limits(segment, b"first"), Limits(segment, b"second")
    takes = [(first, b"a", 60), (first, b"b", 60), (first, b"a", 61), (second, b"a", 60)]
    assert [each.take(key, rate, MINUTE, 1, 1, NOW).verdict for each, key, rate in takes] == ["pass"] * 4
    assert [each.take(key, rate, MINUTE, 1, 1, NOW).verdict for each, key, rate in takes] == ["refuse"] * 4
    assert Limits(segment, b"first").take(b"a", 60, MINUTE, 1, 1, NOW).verdict == "refuse"


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ((0, SECOND, 1), "a rate from 1"),
        ((1, 0, 1), "a rate from 1"),
        ((1, SECOND, 0), "a burst from 1"),
        ((1, 367 * DAY, 1), "up to 366 days"),
        ((1, DAY, 367), "a burst of 367 at 1 in 86400000000 us takes more than 366 days to come back; lower the burst or raise the rate"),
    ],
)
def test_windows_that_cannot_be_kept(window: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        limits().take(b"k", *window, 1, NOW)


def test_a_segment_without_cells() -> None:
    with pytest.raises(ValueError, match=r"raise process\.limit_cells"):
        Limits(Segment(1, 1, 1))


# giving back


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 3 * SECOND))
def test_a_take_given_back_was_never_there(first: int, second: int, later: int) -> None:
    window = (2, SECOND, 10)
    found = limits()
    found.take(b"k", *window, first, NOW)
    before = found.peek(b"k", *window, 1, NOW + later)
    found.take(b"k", *window, second, NOW + later)
    assert found.give_back()
    assert found.peek(b"k", *window, 1, NOW + later) == before
    assert not found.give_back()


def test_a_charge_under_another_take_stays() -> None:
    segment = Segment(1, 1, 1, 1024)
    first, second = Limits(segment), Limits(segment)
    first.take(b"k", 1, SECOND, 3, 1, NOW)
    second.take(b"k", 1, SECOND, 3, 1, NOW)
    assert not first.give_back()
    assert first.peek(b"k", 1, SECOND, 3, 1, NOW).remaining == 1
    assert second.give_back()
    assert first.peek(b"k", 1, SECOND, 3, 1, NOW).remaining == 2


def test_a_refusal_gives_nothing_back() -> None:
    found = limits()
    found.take(b"k", 1, SECOND, 1, 1, NOW)
    assert found.take(b"k", 1, SECOND, 1, 1, NOW).verdict == "refuse"
    assert not found.give_back()


def test_of_several_windows_all_pass_or_none_is_charged() -> None:
    found = limits()
    windows = [(10, SECOND, 10), (2, MINUTE, 2), (100, DAY, 100)]
    assert [found.take_all(b"k", windows, 1, NOW)[0] for _ in range(2)] == ["pass", "pass"]
    verdict, figures = found.take_all(b"k", windows, 1, NOW)
    assert verdict == "refuse"
    assert figures == [(8, 200_000, 0), (0, MINUTE, MINUTE // 2), (98, 2 * DAY // 100, 0)]
    assert found.peek(b"k", *windows[0], 1, NOW).remaining == 8
    with pytest.raises(ValueError, match="from 1 to 16 windows"):
        found.take_all(b"k", [], 1, NOW)


def test_windows_that_find_no_cell_charge_nothing() -> None:
    found = limits(1)
    windows = [(1 + i, MINUTE, 5) for i in range(2)]
    for i in range(FULL - 1):
        found.take(b"%d" % i, 1, DAY, 1, 1, NOW)
    verdict, figures = found.take_all(b"k", windows, 1, NOW)
    assert (verdict, figures[0]) == ("full", (5, 0, 0))
    assert found.occupancy(NOW + 2 * SECOND) == FULL - 1


# the table


def test_a_full_table_says_so_and_serves_who_is_in_it() -> None:
    found = limits(1)
    keys = [b"%d" % i for i in range(FULL)]
    assert [found.take(key, 1, SECOND, 1, 1, NOW).verdict for key in keys] == ["pass"] * FULL
    assert found.take(b"new", 1, SECOND, 1, 1, NOW).verdict == "full"
    assert found.peek(b"new", 1, SECOND, 1, 1, NOW).verdict == "pass"
    assert found.enter(0, b"new", 1, NOW)[0] == "full"
    assert (found.full, found.occupancy(NOW)) == (2, FULL)
    assert {found.take(key, 1, SECOND, 1, 1, NOW).verdict for key in keys} == {"refuse"}
    assert {found.take(key, 1, SECOND, 1, 1, NOW + SECOND).verdict for key in keys} == {"pass"}


def test_a_cell_is_free_a_second_after_its_bucket_is_full() -> None:
    found = limits(1)
    for i in range(FULL):
        found.take(b"%d" % i, 1, SECOND, 1, 1, NOW)
    assert found.take(b"new", 1, SECOND, 1, 1, NOW + 2 * SECOND - 1).verdict == "full"
    assert found.occupancy(NOW + 2 * SECOND - 1) == FULL
    assert found.take(b"new", 1, SECOND, 1, 1, NOW + 2 * SECOND).verdict == "pass"
    assert found.occupancy(NOW + 2 * SECOND) == 1


@pytest.mark.parametrize(("cells", "there"), [(1, 31), (32, 31), (33, 62), (65_536, 63_488), (65_537, 126_976)])
def test_sizes_are_powers_of_two(cells: int, there: int) -> None:
    segment = Segment(1, 1, 1, cells)
    assert (segment.limit_cells, Limits(segment).occupancy(NOW)) == (there, 0)


@given(st.lists(st.tuples(st.integers(0, 80), st.integers(0, SECOND)), max_size=200))
def test_keys_that_share_a_set_keep_their_own_limits(takes: list[tuple[int, int]]) -> None:
    found, now = limits(1), NOW
    expected = [Bucket(kept_interval(3, SECOND), 2) for _ in range(81)]
    for key, later in takes:
        now += later
        verdict = found.take(b"%d" % key, 3, SECOND, 2, 1, now)
        assert verdict.verdict == "full" or verdict == expected[key].take(1, now)


def test_half_a_table_is_held_without_loss() -> None:
    found = limits(65_536)
    assert _repeat_keys(found, 1, DAY, 1, 32_000, 32_000, NOW) > 31_950
    assert found.full < 50


# many at once


def test_threads_admit_exactly_the_burst() -> None:
    found, passed = limits(), []
    work = [threading.Thread(target=lambda: passed.append(_repeat_keys(found, 1, MINUTE, 1000, 5, 100_000, NOW))) for _ in range(4)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert sum(passed) == 5 * 1000


def test_processes_admit_exactly_the_burst() -> None:
    found = limits()
    works = [lambda: _repeat_keys(found, 1, MINUTE, 20_000, 3, 100_000, NOW) for _ in range(8)]
    assert sum(answers(*works)) == 3 * 20_000


def test_processes_that_meet_new_keys_at_once_agree_on_their_cells() -> None:
    found = limits(65_536)
    barrier = fork.Barrier(4)

    def work() -> int:
        barrier.wait()
        return _repeat_keys(found, 1, DAY, 1, 20_000, 20_000, NOW)

    assert sum(answers(*[work] * 4)) == 20_000
    assert (found.occupancy(NOW), found.full) == (20_000, 0)


def monotonic_us() -> int:
    return time.monotonic_ns() // 1000


@pytest.mark.speed
def test_processes_on_a_real_clock_admit_the_rate() -> None:
    """All of it, but for what comes back while nobody asks: at most a twentieth of a second at the end."""
    found, rate, burst = limits(), 20_000, 20_000

    def work() -> tuple[list[int], int, int]:
        passed, began, now = [0, 0, 0], monotonic_us(), 0
        for turn in range(100_000):
            now = monotonic_us()
            passed[turn % 3] += found.take(b"%d" % (turn % 3), rate, SECOND, burst, 1, now).verdict == "pass"
        return passed, began, now

    parts, began, ended = zip(*answers(*[work] * 8), strict=True)
    due = burst + Fraction(rate * (max(ended) - min(began)), SECOND)
    for passed in map(sum, zip(*parts, strict=True)):
        assert due - rate // 20 <= passed <= due


class SharedClock:
    """Time that whoever looks at it moves on, though not further than LAG from what any process saw last: nobody's `now` is older, whoever the machine lets run."""

    LAG = 400_000  # us; gw allows half a second

    def __init__(self, processes: int, step: int) -> None:
        self.step = step
        self.now = fork.RawValue(c_int64, NOW)
        self.seen = fork.RawArray(c_int64, [NOW] * processes)

    def look(self, process: int) -> int:
        while (now := min(self.now.value + self.step, min(self.seen) + self.LAG)) <= self.seen[process]:
            os.sched_yield()
        self.now.value = self.seen[process] = now
        return now

    def leave(self, process: int) -> None:
        self.seen[process] = 2**62


@pytest.mark.parametrize(("keys", "step"), [(3, 2_000), (40, 30_000), (60, 40_000), (100, 20_000)])
def test_cells_that_change_hands_keep_every_limit(keys: int, step: int) -> None:
    """One set for all keys, each of which comes back at about the time when others may take its cell, in several processes whose clocks differ."""
    found, processes, window = limits(1), 3, (5, SECOND, 2)
    clock = SharedClock(processes, step)

    def work(process: int) -> list[tuple[int, int]]:
        passed, now, choice = [], NOW, random.Random(process)
        while now < NOW + 30_000 * step:
            key, now = choice.randrange(keys), clock.look(process)
            if found.take(b"%d" % key, *window, 1, now).verdict == "pass":
                passed.append((key, now))
        clock.leave(process)
        return passed

    passed = [each for part in answers(*(lambda process=process: work(process) for process in range(processes))) for each in part]
    assert len({key for key, _ in passed}) == keys
    for key in range(keys):
        assert keeps_the_limit([(now, 1) for each, now in passed if each == key], kept_interval(*window[:2]), window[2])
    assert (found.full > 0) == (keys > FULL)


def test_several_windows_in_several_processes_keep_each_limit() -> None:
    found, windows = limits(), [(100_000, SECOND, 50_000), (1, MINUTE, 3_000), (2, MINUTE, 7_000)]

    def work() -> int:
        return sum(found.take_all(b"k", windows, 1, NOW)[0] == "pass" for _ in range(10_000))

    passed = sum(answers(*[work] * 4))
    assert passed == 3_000
    left = [found.peek(b"k", *window, 1, NOW).remaining for window in windows]
    assert left[1] == 0
    assert 46_900 < left[0] <= 47_000
    assert 3_900 < left[2] <= 4_000


def killed(work: Callable[[], Any], after: float) -> None:
    """Run it in a process that is killed in the middle."""
    ready, begun = fork.Pipe(duplex=False)
    child = fork.Process(target=lambda: (begun.send(1), work()))
    child.start()
    ready.recv()
    ready.poll(after)  # nothing more comes: this is the moment of the kill
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    ready.close()
    begun.close()


def test_a_worker_killed_while_it_claims_cells_holds_nobody_up() -> None:
    found, now = limits(1), NOW
    for turn in range(60):
        killed(lambda now=now: _repeat_keys(found, 1, SECOND, 1, 2**40, 2**40, now, 3 * SECOND), 0.001 + turn % 7 * 0.0003)
        now += 10**6 * SECOND
        found.take(b"first", 1, SECOND, 1, 1, now)  # meets the claim that was left open, and another key in its cell
        now += 10 * SECOND
        assert [found.take(b"%d" % key, 1, SECOND, 1, 1, now).verdict for key in range(FULL)] == ["pass"] * FULL
        assert [found.take(b"%d" % key, 1, SECOND, 1, 1, now).verdict for key in range(FULL)] == ["refuse"] * FULL
        now += 10 * SECOND


# in flight


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.booleans()), max_size=120), st.integers(1, 4))
def test_never_more_in_flight_than_the_limit(steps: list[tuple[int, int, bool]], limit: int) -> None:
    found = limits()
    held: list[list[tuple[int, int]]] = [[], [], []]  # by key: (worker, cell)
    for key, worker, enters in steps:
        if enters:
            verdict, count, cell = found.enter(worker, b"%d" % key, limit, NOW)
            assert verdict == ("pass" if len(held[key]) < limit else "refuse")
            if cell is not None:
                held[key].append((worker, cell))
            assert count == len(held[key])
        elif held[key]:
            found.leave(*held[key].pop(), NOW)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=40), st.integers(0, 3))
def test_what_a_dead_worker_held_is_given_back(entered: list[tuple[int, int]], dead: int) -> None:
    found = limits()
    for worker, key in entered:
        found.enter(worker, b"%d" % key, 100, NOW)
    found.forget_worker(dead, NOW)
    for key in range(3):
        assert found.enter((dead + 1) % 4, b"%d" % key, 100, NOW)[1] == 1 + sum(worker != dead and of == key for worker, of in entered)


def test_what_is_in_flight_keeps_its_cell_however_long_it_takes() -> None:
    found = limits(1)
    cells = [found.enter(0, b"%d" % i, 1, NOW)[2] for i in range(FULL)]
    assert found.enter(0, b"new", 1, NOW + DAY)[0] == "full"
    found.leave(0, cells[7], NOW + DAY)
    assert found.enter(0, b"new", 1, NOW + DAY)[0] == "full"
    assert found.enter(0, b"new", 1, NOW + DAY + 2 * SECOND)[0] == "pass"
    assert found.enter(0, b"7", 1, NOW + DAY + 2 * SECOND)[0] == "full"
    assert found.occupancy(NOW + 9 * DAY) == FULL


def test_numbers_and_rates_of_one_key_are_apart() -> None:
    found = limits()
    assert found.take(b"k", 1, SECOND, 1, 1, NOW).verdict == "pass"
    assert [found.enter(0, b"k", 2, NOW)[:2] for _ in range(3)] == [("pass", 1), ("pass", 2), ("refuse", 2)]
    assert found.take(b"k", 1, SECOND, 1, 1, NOW).verdict == "refuse"


def test_leaving_what_was_not_entered() -> None:
    found = limits()
    _, _, cell = found.enter(1, b"k", 1, NOW)
    for worker, which in [(0, cell), (1, cell + 1), (1, 2**32 - 1), (4, cell)]:
        with pytest.raises(IndexError):
            found.leave(worker, which, NOW)
    found.leave(1, cell, NOW)
    with pytest.raises(IndexError, match=f"worker 1 has nothing in flight in cell {cell}"):
        found.leave(1, cell, NOW)


def test_limits_that_cannot_be_counted() -> None:
    for limit in (0, 2**24):
        with pytest.raises(ValueError, match="from 1 to 16777215 can be in flight"):
            limits().enter(0, b"k", limit, NOW)


def test_processes_in_flight_are_never_more_than_the_limit() -> None:
    found, inside, most = limits(), fork.Value(c_int64, 0), fork.Value(c_int64, 0)

    def work(worker: int) -> int:
        passed = 0
        for _ in range(5_000):
            verdict, _, cell = found.enter(worker, b"k", 2, NOW)
            if verdict == "pass":
                with inside.get_lock():
                    inside.value += 1
                    most.value = max(most.value, inside.value)
                with inside.get_lock():
                    inside.value -= 1
                found.leave(worker, cell, NOW)
                passed += 1
        return passed

    assert sum(answers(*(lambda worker=worker: work(worker) for worker in range(4)))) >= 5_000
    assert 1 <= most.value <= 2
    assert found.enter(0, b"k", 9, NOW)[1] == 1


def test_a_worker_killed_at_any_moment_leaves_nothing_in_flight() -> None:
    found, stop = limits(1), fork.Event()

    def neighbour() -> None:
        while not stop.is_set():
            _repeat_inflight(found, 1, b"k", 2, 1_000, NOW)

    with children(neighbour):
        for turn in range(80):
            killed(lambda: _repeat_inflight(found, 0, b"k", 3, 2**40, NOW), 0.0005 + turn % 11 * 0.0002)
            found.forget_worker(0, NOW)
        stop.set()
    assert [found.enter(2, b"k", 9, NOW)[1] for _ in range(2)] == [1, 2]
