"""Kernels of authorisation. Each loop runs in C; the figure is TIMES calls."""

from __future__ import annotations

import random

import pytest

from gw._fast import cidr
from gw.policy.ip import merged

TIMES = 1_000_000


def blocks(count: int) -> list[str]:
    """Scattered /24 of IPv4, the same ones every time."""
    made = random.Random(1)
    return [f"{made.randrange(1, 224)}.{made.randrange(256)}.{made.randrange(256)}.0/24" for _ in range(count)]


@pytest.mark.parametrize("count", [10, 10_000])
@pytest.mark.parametrize("address", [b"10.1.2.3", b"2001:db8:aaaa:bbbb:cccc:dddd:eeee:1"])
def test_address_in_set(benchmark, count: int, address: bytes) -> None:
    benchmark(cidr._repeat, cidr.AddressSet(merged(blocks(count))), address, TIMES)
