"""Sets of addresses against `ipaddress`."""

from __future__ import annotations

import ipaddress
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gw._fast.cidr import AddressSet
from gw.policy.ip import merged

MAPPED = ipaddress.ip_network("::ffff:0:0/96")
# Few bits vary, so that networks touch, overlap and hold the addresses asked for.
V4 = st.builds(lambda high, low: ipaddress.IPv4Address((10 + high) << 24 | low), st.integers(0, 1), st.integers(0, 20))
V6 = st.builds(lambda high, low: ipaddress.IPv6Address(high << 112 | low), st.sampled_from([0, 0x2001, 0xFFFF]), st.integers(0, 20))
MAPPED_V6 = V4.map(lambda address: ipaddress.IPv6Address(int(MAPPED.network_address) + int(address)))
ADDRESSES = V4 | V6 | MAPPED_V6
BITS = st.sampled_from([0, 8, 16, 31, 80, 95, 96, 97, 104, 120, 127, 128])
NETWORKS = st.builds(lambda address, bits: str(ipaddress.ip_network((address, min(bits, address.max_prefixlen)), strict=False)), ADDRESSES, BITS)


def holds(networks: list[str], address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """By definition: IPv4 in IPv4, IPv6 in IPv6, and an address or block that is mapped is IPv4."""
    four = address if address.version == 4 else address.ipv4_mapped
    return any((four or address) in four_of(ipaddress.ip_network(each)) for each in networks)


def four_of(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if network.version == 6 and network.subnet_of(MAPPED):
        return ipaddress.ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


@given(st.lists(NETWORKS, max_size=8), st.lists(ADDRESSES, min_size=1, max_size=8))
@example(["::/0"], [ipaddress.ip_address("10.0.0.1")])
@example(["::/80"], [ipaddress.ip_address("::ffff:10.0.0.1"), ipaddress.ip_address("::1")])
@example(["0.0.0.0/0"], [ipaddress.ip_address("::1"), ipaddress.ip_address("::ffff:10.0.0.1")])
def test_it_holds_what_ipaddress_says(networks: list[str], addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> None:
    found = AddressSet(merged(networks))
    assert [str(each).encode() in found for each in addresses] == [holds(networks, each) for each in addresses]


@given(st.lists(NETWORKS, max_size=12))
def test_ranges_are_sorted_and_do_not_touch(networks: list[str]) -> None:
    ranges = merged(networks)
    assert all(first <= last for first, last in ranges)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(ranges))


def test_neighbours_become_one_range() -> None:
    assert len(AddressSet(merged(["10.0.0.0/25", "10.0.0.128/25", "10.0.1.0/24", "10.0.0.7"]))) == 1


NOT_ADDRESSES = [b"", b"10", b"10.0.0", b"10.0.0.256", b"010.0.0.1", b" 10.0.0.1", b"10.0.0.1\0", b"10.0.0.1\0.x", b"::ffff:10.0.0.1%eth0", b"unix:", b"1" * 46, b"[::1]"]


@pytest.mark.parametrize("text", NOT_ADDRESSES)
def test_what_is_no_address_is_in_no_set(text: bytes) -> None:
    assert text not in AddressSet(merged(["0.0.0.0/0", "::/0"]))


@pytest.mark.parametrize("ranges", [[(2, 1)], [(1, 2), (2, 3)], [(5, 6), (1, 2)], [(0, 1 << 128)], [(-1, 0)]])
def test_ranges_out_of_order_are_refused(ranges: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match=f"range {len(ranges) - 1} is not in order, overlaps the one before or ends beyond 128 bits"):
        AddressSet(ranges)
