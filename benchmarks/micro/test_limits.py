"""Kernels of limits. Each loop runs in C; the figure is TIMES calls."""

from __future__ import annotations

import pytest

from gw._fast import bucket, hash, lease
from gw._fast.shm import Segment

TIMES = 1_000_000
SECOND = 1_000_000  # us
PLENTY = (10**9, SECOND, 2**31)  # rate, period, burst: no round uses it up


def limits() -> bucket.Limits:
    return bucket.Limits(Segment(4, 1, 1, 65_536))


@pytest.mark.parametrize("length", [4, 16, 40])
def test_hash(benchmark, length: int) -> None:
    benchmark(hash._repeat, b"x" * length, TIMES)


def test_take_that_passes(benchmark) -> None:
    assert benchmark(bucket._repeat, limits(), b"k", *PLENTY, TIMES) == TIMES


def test_take_that_is_refused(benchmark) -> None:
    assert benchmark(bucket._repeat, limits(), b"k", 1, 60 * SECOND, 1, TIMES) <= 1


@pytest.mark.parametrize("keys", [100, 10_000, 30_000])
def test_hash_and_take_of_many_keys(benchmark, keys: int) -> None:
    assert benchmark(bucket._repeat_keys, limits(), *PLENTY, keys, TIMES) == TIMES


def test_enter_and_leave(benchmark) -> None:
    assert benchmark(bucket._repeat_inflight, limits(), 0, b"k", 10, TIMES) == TIMES


def test_take_from_a_lease(benchmark) -> None:
    leases = lease.Leases(Segment(4, 1, 1, 65_536))
    key = leases.key(b"k")

    def full() -> tuple[tuple[object, ...], dict[str, object]]:
        leases.grant(key, 65_536, 0, 10 * SECOND, 0)
        return (leases, key, 65_536), {}

    assert benchmark.pedantic(lease._repeat, setup=full, rounds=50) == 65_536
