from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw._fast.shm import WORKER_FIELDS, WORKER_GAUGES, Segment

NOW = 5_000_000  # ms
fork = multiprocessing.get_context("fork")


def in_child(work: Callable[[], None]) -> None:
    """Run it in a forked process, which must end well."""
    child = fork.Process(target=work)
    child.start()
    child.join(20)
    assert child.exitcode == 0


def shared_memory_kb() -> int:
    """Memory of this process that is shared and anonymous."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssShmem:"))


# slots


@given(st.lists(st.binary(max_size=40), unique=True, max_size=64))
def test_keys_have_slots_of_their_own_and_keep_them(keys: list[bytes]) -> None:
    segment = Segment(1, 64, 64)
    slots = [segment.route_slot(key) for key in keys]
    assert len(set(slots)) == len(keys)
    assert all(0 <= slot < 64 for slot in slots)
    assert [segment.route_slot(key) for key in reversed(keys)] == slots[::-1]
    assert [segment.find_route(key) for key in keys] == slots
    assert segment.occupancy()["routes"] == (len(keys), 64)


def test_a_full_directory_says_what_to_raise_and_still_knows_its_keys() -> None:
    segment = Segment(1, 3, 2)
    slots = [segment.route_slot(b"%d" % i) for i in range(3)]
    assert sorted(slots) == [0, 1, 2]
    with pytest.raises(OverflowError, match=r"3 distinct routes; raise process\.routes_max"):
        segment.route_slot(b"new")
    assert segment.find_route(b"new") is None
    assert segment.route_slot(b"1") == slots[1]
    for key in (b"a", b"b"):
        segment.endpoint_slot(key)
    with pytest.raises(OverflowError, match=r"2 distinct endpoints; raise process\.endpoints_max"):
        segment.endpoint_slot(b"c")
    assert segment.occupancy() == {"routes": (3, 3), "endpoints": (2, 2), "policies": (0, 256), "loads": (0, 2)}
    assert repr(segment) == "<Segment: 1 workers, 3/3 routes, 2/2 endpoints>"


def test_looking_a_key_up_claims_nothing() -> None:
    segment = Segment(1, 4, 4)
    assert segment.find_route(b"a") is None
    assert segment.find_endpoint(b"a") is None
    assert segment.find_policy(b"a") is None
    assert segment.occupancy() == {"routes": (0, 4), "endpoints": (0, 4), "policies": (0, 256), "loads": (0, 4)}


def test_processes_that_claim_at_once_agree() -> None:
    segment = Segment(4, 2000, 2000)
    keys = [b"route-%d" % i for i in range(1500)]
    answers = [fork.SimpleQueue() for _ in range(4)]
    barrier = fork.Barrier(4)

    def claim(worker: int) -> None:
        order = keys[worker * 300 :] + keys[: worker * 300]
        barrier.wait()
        found = {key: segment.route_slot(key) for key in order}
        answers[worker].put([found[key] for key in keys])

    children = [fork.Process(target=claim, args=(worker,)) for worker in range(4)]
    for child in children:
        child.start()
    slots = [answer.get() for answer in answers]
    for child in children:
        child.join(20)
    assert slots[0] == slots[1] == slots[2] == slots[3] == [segment.route_slot(key) for key in keys]
    assert len(set(slots[0])) == len(keys)
    assert segment.occupancy()["routes"] == (1500, 2000)
    for answer in answers:
        answer.close()


def test_policies_have_slots_until_there_are_too_many() -> None:
    segment = Segment(1, 1, 1)
    slots = [segment.policy_slot(b"%d" % i) for i in range(256)]
    assert sorted(slots) == list(range(256))
    assert segment.find_policy(b"7") == segment.policy_slot(b"7") == slots[7]
    with pytest.raises(OverflowError, match="256 distinct policies"):
        segment.policy_slot(b"new")


# what is counted


def test_policy_totals_are_the_sum_over_workers_but_for_the_quarantine() -> None:
    segment = Segment(2, 1, 1)
    slot, other = segment.policy_slot(b"a"), segment.policy_slot(b"b")
    segment.count_hook(0, slot, 10, over=1)
    segment.count_hook(1, slot, 30, over=2, skipped=4, quarantined=9)
    found = segment.policy_totals(slot)
    assert (found["request"].count, found["request"].sum_us, found["response"].count, found["done"].count) == (2, 40, 0, 0)
    assert (found["over"], found["skipped"], found["quarantined"]) == (3, 4, [0, 9])
    assert segment.policy_totals(other)["request"].count == 0
    for worker, wrong in ((2, slot), (0, 256), (0, -1)):
        with pytest.raises(IndexError):
            segment.count_hook(worker, wrong, 1)


def test_route_totals_are_the_sum_over_workers_in_other_processes() -> None:
    segment = Segment(2, 16, 16)
    slot = segment.route_slot(b"users")

    def work(worker: int) -> Callable[[], None]:
        def run() -> None:
            segment.count(worker, segment.route_slot(b"users"), 200, latency_us=1000, origin_us=700, bytes_in=10, bytes_out=500, retries=1)
            segment.count(worker, segment.route_slot(b"users"), 503, latency_us=100, bytes_out=50, reason=3)

        return run

    assert segment.route_totals(slot)["requests"] == [0] * 6
    in_child(work(0))
    in_child(work(1))
    totals = segment.route_totals(slot)
    assert totals["requests"] == [0, 0, 2, 0, 0, 2]
    assert (totals["bytes_in"], totals["bytes_out"], totals["retries"], totals["by_gateway"]) == (20, 1100, 2, 2)
    assert totals["by_reason"] == [0, 0, 0, 2] + [0] * 60
    assert (totals["latency"].count, totals["latency"].sum_us) == (4, 2200)
    assert (totals["origin"].count, totals["origin"].sum_us) == (2, 1400)


def test_worker_figures_by_name() -> None:
    segment = Segment(2, 1, 1)
    segment.set_worker(1, revision=4711, requests=12)
    first, second = segment.workers()
    assert tuple(first) == WORKER_FIELDS
    marks = dict.fromkeys(("memory_ask", "memory_most"), 2**64 - 1)  # none
    assert {name: value for name, value in first.items() if value} == marks
    assert {name: value for name, value in second.items() if value and name not in marks} == {"revision": 4711, "requests": 12}
    with pytest.raises(ValueError, match="not in tuple"):
        segment.set_worker(0, unknown=1)


def test_a_dead_worker_leaves_no_gauges_but_its_counters() -> None:
    segment = Segment(2, 4, 4)
    slot = segment.endpoint_slot(b"127.0.0.1:9001")
    for worker in (0, 0, 0, 1):
        segment.endpoint_begin(worker, slot)
    segment.endpoint_end(0, slot)
    segment.set_worker(0, **dict.fromkeys(WORKER_FIELDS, 7))
    segment.set_worker(1, connections=5)
    segment.reset_gauges(0)
    dead, other = segment.workers()
    assert {name for name, value in dead.items() if value == 0} == set(WORKER_GAUGES)
    assert {"connections", "exchanges", "tunnels", "accept_paused"} <= set(WORKER_GAUGES)
    assert {"accepted", "requests", "log_dropped"}.isdisjoint(WORKER_GAUGES)
    assert other["connections"] == 5
    assert segment.endpoint(slot)["inflight"] == 1  # the other worker's
    assert segment.endpoint(slot)["requests"] == 4


def test_memory_is_taken_when_it_is_written_and_a_scrape_takes_none() -> None:
    segment = Segment(8, 16384, 4096)
    assert segment.mapped_bytes > 500 * 2**20
    slots = [segment.route_slot(b"route-%d" % i) for i in range(2000)]
    before = shared_memory_kb()
    segment.count(3, slots[7], 200, latency_us=10)
    for slot in slots:
        segment.route_totals(slot)
    assert shared_memory_kb() - before < 64
    assert segment.route_totals(slots[7])["requests"][2] == 1


def test_counting_in_parallel_loses_nothing() -> None:
    segment = Segment(3, 1, 1)
    slot = segment.endpoint_slot(b"e")

    def work(worker: int) -> None:
        for _ in range(20_000):
            segment.endpoint_begin(worker, slot)
            segment.endpoint_connected(slot)
            segment.endpoint_end(worker, slot)

    children = [fork.Process(target=work, args=(worker,)) for worker in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
    state = segment.endpoint(slot)
    assert (state["requests"], state["connects"], state["inflight"]) == (60_000, 60_000, 0)


# endpoints that fail


def endpoint(segment: Segment) -> Callable[[], dict[str, int]]:
    slot = segment.endpoint_slot(b"e")
    return lambda: segment.endpoint(slot)


def test_so_many_failures_in_a_row_put_an_endpoint_down() -> None:
    segment = Segment(1, 1, 1)
    state = endpoint(segment)
    assert [segment.endpoint_failed(0, NOW + i, 3, 2000) for i in range(4)] == [False, False, True, False]
    assert state()["down_until_ms"] == NOW + 3 + 2000
    assert (state()["fails"], state()["failures"], state()["ejections"]) == (3, 4, 1)


def test_an_answer_in_between_starts_the_count_anew_and_brings_it_up() -> None:
    segment = Segment(1, 1, 1)
    state = endpoint(segment)
    segment.endpoint_failed(0, NOW, 2, 2000)
    segment.endpoint_ok(0)
    assert not segment.endpoint_failed(0, NOW, 2, 2000)
    assert segment.endpoint_failed(0, NOW, 2, 2000)
    segment.endpoint_ok(0)
    assert (state()["down_until_ms"], state()["fails"], state()["failures"]) == (0, 0, 3)


def test_once_back_one_failure_puts_it_down_again() -> None:
    segment = Segment(1, 1, 1)
    for _ in range(3):
        segment.endpoint_failed(0, NOW, 3, 100)
    assert segment.endpoint_failed(0, NOW + 101, 3, 100)
    assert endpoint(segment)()["ejections"] == 2


# bounds


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1)])
def test_sizes_are_positive(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Segment(*sizes)


def test_more_address_space_than_there_is() -> None:
    with pytest.raises(MemoryError, match=r"lower process\.routes_max"):
        Segment(1024, 2**31 - 1, 1)


def test_indexes_are_checked_at_the_border() -> None:
    segment = Segment(1, 2, 2)
    for call in (
        lambda: segment.route_totals(2),
        lambda: segment.endpoint(-1),
        lambda: segment.reset_gauges(1),
        lambda: segment.count(1, 0, 200),
        lambda: segment.endpoint_begin(0, 2),
        lambda: segment.endpoint_failed(2, 0, 1, 1),
    ):
        with pytest.raises(IndexError):
            call()
    with pytest.raises(ValueError, match="600 is not a status"):
        segment.count(0, 0, 600)
    with pytest.raises(ValueError, match="64 is not the index of a reason"):
        segment.count(0, 0, 500, reason=64)


def test_the_mapping_goes_with_the_object() -> None:
    def mapped() -> int:
        return sum("zero (deleted)" in line for line in Path(f"/proc/{os.getpid()}/maps").read_text().splitlines())

    before = mapped()
    segment = Segment(1, 1, 1)
    assert mapped() == before + 1
    del segment
    assert mapped() == before
