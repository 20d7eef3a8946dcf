from __future__ import annotations

import collections

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gw._fast.pick import Balancer
from gw._fast.shm import Segment
from tests.reference.pick import RoundRobin

NOW = 1_000_000  # ms
MODES = ["round-robin", "least-request"]
modes = st.sampled_from(MODES)


class Service:
    """Endpoints with the given weights, and what tests do to them."""

    def __init__(self, weights: list[int], mode: str = "round-robin", seed: int = 7) -> None:
        self.segment = Segment(1, 1, max(1, len(weights)))
        keys = [b"10.0.0.%d:80" % i for i in range(len(weights))]
        self.slots = [self.segment.endpoint_slot(key) for key in keys]
        self.balancer = Balancer(self.segment, list(zip(keys, weights, strict=True)), mode, seed)
        self.down_until = [0] * len(weights)

    def put_down(self, index: int, until: int) -> None:
        self.segment.endpoint_failed(self.slots[index], 0, 1, until)
        self.down_until[index] = until

    def shares(self, picks: int) -> list[float]:
        counts = collections.Counter(self.balancer.pick(NOW) for _ in range(picks))
        return [counts[i] / picks for i in range(len(self.slots))]

    def loaded_shares(self, picks: int, concurrency: int) -> list[float]:
        """Shares while `concurrency` exchanges are always open and end in the order they began."""
        opened: collections.deque[int] = collections.deque()
        counts: collections.Counter[int] = collections.Counter()
        for _ in range(picks):
            if len(opened) == concurrency:
                self.segment.endpoint_end(0, self.slots[opened.popleft()])
            index = self.balancer.pick(NOW)
            counts[index] += 1
            opened.append(index)
            self.segment.endpoint_begin(0, self.slots[index])
        return [counts[i] / picks for i in range(len(self.slots))]


situation = st.integers(0, 80).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 5), min_size=n, max_size=n),
        st.lists(st.tuples(st.integers(0, max(0, n - 1)), st.integers(NOW - 5, NOW + 100)), max_size=n),
        st.sets(st.integers(0, max(0, n - 1)), max_size=n),
    )
)


@given(situation, modes, st.integers(0, 2**64 - 1))
def test_never_a_tried_one_and_never_one_that_is_down_while_another_is_up(case: tuple[list[int], list[tuple[int, int]], set[int]], mode: str, seed: int) -> None:
    weights, downs, tried = case
    service = Service(weights, mode, seed)
    for index, until in downs if weights else []:
        service.put_down(index, until)
    marks = {index % 64 for index in tried}
    untried = [i for i, weight in enumerate(weights) if weight and i % 64 not in marks]
    up = [i for i in untried if service.down_until[i] <= NOW]
    for _ in range(5):
        found = service.balancer.pick(NOW, tried)
        if up:
            assert found in up
        elif untried:
            assert service.down_until[found] == min(service.down_until[i] for i in untried)
            assert found in untried
        else:
            assert found == -1


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.data())
def test_round_robin_is_the_reference(weights: list[int], data: st.DataObject) -> None:
    service, reference = Service(weights), RoundRobin(weights)
    indexes = st.integers(0, len(weights) - 1)
    for _ in range(30):
        if data.draw(st.booleans()):
            service.put_down(data.draw(indexes), data.draw(st.integers(NOW - 2, NOW + 3)))
        now = NOW + data.draw(st.integers(0, 4))
        tried = data.draw(st.sets(indexes, max_size=2))
        assert service.balancer.pick(now, tried) == reference.pick(service.down_until, now, tried)


@given(st.lists(st.integers(0, 20), min_size=2, max_size=6).filter(any))
def test_round_robin_gives_every_endpoint_exactly_its_weight(weights: list[int]) -> None:
    assert Service(weights).shares(sum(weights)) == [weight / sum(weights) for weight in weights]


def test_turns_are_spread_out() -> None:
    service = Service([5, 1, 1])
    assert [service.balancer.pick(NOW) for _ in range(7)] == [0, 0, 1, 0, 2, 0, 0]


@pytest.mark.parametrize("concurrency", [1, 4, 40])
@pytest.mark.parametrize("weights", [[1, 1], [1, 1, 1, 1], [1, 3], [1, 10], [2, 3, 5]])
def test_least_request_follows_the_weights(weights: list[int], concurrency: int) -> None:
    shares = Service(weights, "least-request").loaded_shares(4000, concurrency)
    assert shares == [pytest.approx(weight / sum(weights), abs=0.03) for weight in weights]


def test_least_request_without_load_gives_every_endpoint_exactly_its_weight() -> None:
    assert Service([1, 3, 6], "least-request").shares(1000) == [0.1, 0.3, 0.6]


@pytest.mark.parametrize("weights", [[1, 1], [1, 1, 1], [4, 5]])
def test_least_request_avoids_a_busy_endpoint(weights: list[int]) -> None:
    service = Service(weights, "least-request")
    for _ in range(200):
        service.segment.endpoint_begin(0, service.slots[0])
    assert service.shares(1000)[0] < 0.02


def test_least_request_with_two_endpoints_takes_the_freer_one() -> None:
    service = Service([1, 1], "least-request")
    service.segment.endpoint_begin(0, service.slots[1])
    assert service.shares(1000) == [pytest.approx(1, abs=0.02), pytest.approx(0, abs=0.02)]


def test_least_request_is_even_with_many_endpoints_of_which_half_are_down() -> None:
    service = Service([1] * 100, "least-request")
    for index in range(0, 100, 2):
        service.put_down(index, NOW + 1)
    shares = service.shares(20_000)
    assert shares[::2] == [0] * 50
    assert all(0.012 < share < 0.028 for share in shares[1::2])


@pytest.mark.parametrize("mode", MODES)
def test_when_all_are_down_the_first_one_back_is_tried_and_then_the_next(mode: str) -> None:
    service = Service([1, 1, 1], mode)
    for index, until in enumerate([NOW + 30, NOW + 10, NOW + 20]):
        service.put_down(index, until)
    assert [service.balancer.pick(NOW, tried) for tried in ((), (1,), (1, 2), (0, 1, 2))] == [1, 2, 0, -1]


@pytest.mark.parametrize("mode", MODES)
def test_a_single_endpoint(mode: str) -> None:
    service = Service([1], mode)
    service.put_down(0, NOW + 10)
    assert service.balancer.pick(NOW) == 0
    assert service.balancer.pick(NOW, (0,)) == -1
    assert Service([0], mode).balancer.pick(NOW) == -1
    assert Service([], mode).balancer.pick(NOW) == -1


def test_an_unknown_mode() -> None:
    with pytest.raises(KeyError):
        Service([1], "fastest")
