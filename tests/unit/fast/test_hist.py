from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw._fast.hist import Histogram, lower, nearest_edge
from tests.reference.hist import HOUR_US, Durations

BUCKETS = 240
durations = st.one_of(st.integers(0, 100), st.integers(0, HOUR_US), st.integers(0, 2**64 - 1))


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(st.lists(durations, min_size=1, max_size=200), st.floats(0, 1))
def test_quantiles_are_within_a_sixteenth(values: list[int], q: float) -> None:
    oracle = Durations()
    for value in values:
        oracle.add(value)
    exact = oracle.quantile(q)
    assert abs(filled(values).quantile(q) - exact) <= exact / 16


@given(st.lists(durations, max_size=50))
def test_count_and_sum_are_exact(values: list[int]) -> None:
    histogram = filled(values)
    assert histogram.count == len(values)
    assert histogram.sum_us == sum(min(value, HOUR_US) for value in values)


@given(st.lists(durations, max_size=50), st.lists(durations, max_size=50))
def test_a_merge_is_the_histogram_of_both(left: list[int], right: list[int]) -> None:
    merged = filled(left)
    merged.merge(filled(right))
    both = filled(left + right)
    assert merged.sum_us == both.sum_us
    assert merged.cumulative(range(BUCKETS + 1)) == both.cumulative(range(BUCKETS + 1))


@given(st.lists(durations, max_size=100), st.lists(st.integers(0, BUCKETS - 1), min_size=1, max_size=8).map(sorted))
def test_cumulative_counts_what_is_below_an_edge(values: list[int], edges: list[int]) -> None:
    oracle = Durations()
    for value in values:
        oracle.add(value)
    assert filled(values).cumulative(edges) == [oracle.below(lower(edge)) for edge in edges]


def test_buckets_touch_and_grow_by_an_eighth() -> None:
    bounds = [lower(i) for i in range(BUCKETS)]
    assert bounds[:17] == list(range(17))
    assert all(low < high <= low * 9 / 8 for low, high in pairwise(bounds[8:]))
    assert bounds[-1] > HOUR_US


@given(st.integers(1, HOUR_US))
def test_the_nearest_edge_is_within_a_sixteenth(us: int) -> None:
    assert abs(lower(nearest_edge(us)) - us) <= us / 16


def test_empty() -> None:
    histogram = Histogram()
    assert (histogram.count, histogram.sum_us, histogram.quantile(0.99)) == (0, 0, 0)
    assert repr(histogram) == "<Histogram of 0: p50 0 us, p99 0 us>"


@pytest.mark.parametrize("q", [-0.1, 1.1, float("nan")])
def test_a_quantile_lies_between_0_and_1(q: float) -> None:
    with pytest.raises(ValueError, match="is not between 0 and 1"):
        Histogram().quantile(q)


def test_there_are_240_buckets() -> None:
    with pytest.raises(IndexError):
        lower(BUCKETS)
    assert filled([5]).cumulative([10_000]) == [1]
