"""Load shedding: in simulated time, that it finds what a service can do and turns away the least important first; on sockets, that it counts right."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gw._fast.shed import PRIORITIES, Shedder
from gw.errors import ConfigError
from tests.reference.service import Simulation
from tests.unit.fast.rig import Client, until
from tests.unit.policy.limits import asking, problem, serving

simulated = settings(max_examples=5, deadline=None, phases=[Phase.explicit, Phase.generate])  # a minute each of some hundred requests a second
SETTLED = 40.0  # seconds: longer than it takes until the first probe is over
SERVICE = "services: {one: {endpoints: ['127.0.0.1:1']}}\n"


def capacity(servers: int, service_us: int) -> float:
    return servers * 1_000_000 / service_us


@simulated
@given(st.integers(4, 10), st.sampled_from([30_000, 100_000]), st.floats(1.3, 3), st.integers(0, 2**32))
def test_an_overloaded_service_stays_busy_and_its_queue_short(servers: int, service_us: int, overload: float, seed: int) -> None:
    possible = capacity(servers, service_us)
    at_work = Simulation(Shedder(1, 1000, 1.5), servers, service_us, {"normal": possible * overload}, seed)
    at_work.run(SETTLED)
    at_work.reset()
    at_work.run(20)
    assert len(at_work.waits) / 20 > 0.9 * possible
    assert at_work.latency < 3 * service_us
    assert servers * 0.8 < at_work.shedder.limit < servers * 5


@simulated
@given(st.integers(4, 10), st.floats(0.05, 0.6), st.integers(0, 2**32))
def test_a_service_with_room_is_left_alone(servers: int, use: float, seed: int) -> None:
    at_ease = Simulation(Shedder(4, 1000, 1.5), servers, 20_000, {"normal": capacity(servers, 20_000) * use}, seed)
    at_ease.run(10)
    at_ease.reset()
    at_ease.run(60)
    assert at_ease.share_shed("normal") < 0.005


def test_a_service_that_became_slower_is_measured_anew_and_one_that_became_faster_at_once() -> None:
    changed = Simulation(Shedder(1, 1000, 1.5), 10, 20_000, {"normal": 1500}, 7)
    changed.run(SETTLED)
    changed.service_us = 60_000
    changed.run(SETTLED)
    assert 50_000 < changed.shedder.base_us < 90_000
    changed.reset()
    changed.run(10)
    assert len(changed.waits) / 10 > 0.9 * capacity(10, 60_000)
    changed.service_us = 10_000
    changed.run(2)
    changed.reset()
    changed.run(10)
    assert changed.shedder.base_us < 20_000
    assert len(changed.waits) / 10 > 0.9 * capacity(10, 10_000)


@simulated
@given(st.lists(st.floats(0.1, 1.5), min_size=4, max_size=4), st.integers(0, 2**32))
def test_the_lowest_priority_is_shed_first(shares: list[float], seed: int) -> None:
    offered = {priority: share * capacity(10, 50_000) for priority, share in zip(PRIORITIES, shares, strict=True)}
    mixed = Simulation(Shedder(1, 1000, 1.5), 10, 50_000, offered, seed)
    mixed.run(SETTLED)
    mixed.reset()
    mixed.run(20)
    shed = [mixed.share_shed(priority) for priority in PRIORITIES]
    assert all(lower >= higher - 0.02 for lower, higher in pairwise(shed)), shed


def test_what_matters_passes_whatever_else_is_sent() -> None:
    flooded = Simulation(Shedder(1, 1000, 1.5), 10, 50_000, {"low": 800, "critical": 60}, 3)
    flooded.run(SETTLED)
    flooded.reset()
    flooded.run(20)
    assert flooded.share_shed("critical") == 0
    assert flooded.share_shed("low") > 0.7


@given(st.lists(st.tuples(st.sampled_from(PRIORITIES), st.booleans()), max_size=200))
def test_whoever_is_shed_all_below_would_be_too(steps: list[tuple[str, bool]]) -> None:
    shedder, open_at = Shedder(1, 30, 1.5), []
    for now, (priority, ends) in enumerate(steps, 1):
        if ends and open_at:
            shedder.leave(open_at.pop(), None, now)
        before = shedder.inflight
        if shedder.enter(priority, now):
            open_at.append(now)
        else:
            assert not any(shedder.enter(lower, now) for lower in PRIORITIES[: PRIORITIES.index(priority)])
            assert before > 0
        assert shedder.inflight == len(open_at)


def test_time_outs_lower_the_limit_without_a_latency() -> None:
    shedder = Shedder(2, 100, 1.5)
    for window in range(1, 40):
        assert shedder.enter("critical", window * 100_000)
        shedder.leave(window * 100_000, None, window * 100_000 + 1, overloaded=True)
    assert shedder.limit == 2


def test_what_is_in_flight_is_counted_and_the_rest_is_shed(tmp_path: Path) -> None:
    config = "load-shed: {least: 2, most: 2, priority: critical}"
    with pytest.raises(ConfigError, match="there is no service to protect here"), serving(tmp_path, config):
        pass
    with serving(tmp_path, "who") as (made, origin), ExitStack() as stack:
        made.reload(f"services: {{one: {{endpoints: ['127.0.0.1:{origin.port}']}}}}\nroutes: [{{path: /, name: all, service: one, policies: [{config}]}}]")
        first, second, third = (stack.enter_context(Client(made.port)) for _ in range(3))
        first.send("/slow/1")
        second.send("/slow/2")
        until(lambda: len(origin.paths) == 2, "both are at the origin")
        answer = third.ask("/")
        assert (answer.status, answer.one("Retry-After")) == (503, "1")
        assert b'"shed"' in answer.body
        second.reset()
        until(lambda: third.ask("/").status == 200, "there is room again")
        origin.go_on.set()
        assert first.read().status == 200
        assert [third.ask("/").status for _ in range(5)] == [200] * 5


@pytest.mark.parametrize(("value", "priority"), [("gold", "critical"), ("free", "low"), ("silver", "normal"), ("", "normal")])
def test_a_part_of_the_request_says_its_priority(tmp_path: Path, value: str, priority: str) -> None:
    route = "routes: [{path: /, service: one, policies: [load-shed: {by: header:X-Plan, priorities: {free: low, gold: critical}}]}]"
    with asking(tmp_path, config=SERVICE + route) as asked:
        assert asked.ask(f"X-Plan: {value}").verdicts[0].told == f"1 of 20 in flight, priority {priority}"
        assert asked.ask("X-Plan: gold", "X-Plan: gold").verdicts[0].told.endswith("priority normal")


@pytest.mark.parametrize(
    ("settings_", "message", "pointer"),
    [
        ("{least: 5, most: 4}", "`least` is above `most`, 4", ".least"),
        ("{by: consumer}", "`by` and `priorities` go together", ""),
        ("{priorities: {a: low}}", "`by` and `priorities` go together", ""),
        ("{by: ip, priorities: {a: low}}", "an address says no priority", ".by"),
        ("{by: moon, priorities: {a: low}}", "'moon' is nothing", ".by"),
        ("{by: host, priorities: {a: top}}", "expected", ".priorities.a"),
        ("{by: host, priorities: {" + ", ".join(f"a{index}: low" for index in range(65)) + "}}", "at most 64 values", ".priorities"),
        ("{priority: urgent}", "expected", ".priority"),
    ],
)
def test_what_cannot_work_is_said_when_it_is_loaded(tmp_path: Path, settings_: str, message: str, pointer: str) -> None:
    route = f"{SERVICE}routes: [{{path: /, service: one, policies: [load-shed: {settings_}]}}]"
    found = problem(tmp_path, config=route)
    assert found[0].startswith(message)
    assert found[1] == f".load-shed{pointer}"
