"""Keys of heads that went through the engine of live traffic."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw._fast.explain import Inquiry
from gw._fast.lane import Lane
from gw._fast.selector import Selector
from gw._fast.shm import Segment
from gw._fast.snapshot import Snapshot
from gw.config.model import Config, Endpoint, Listener, Respond, Route, Service
from gw.runtime import compile_snapshot


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    config = Config(
        [Listener("127.0.0.1:0")],
        routes=[Route(name="users", path="/users", service="people"), Route(name="more", path="/more", service="people"), Route(name="said", path="/said", respond=Respond())],
        services={"people": Service([Endpoint("127.0.0.1:1")])},
        trusted_proxies=["10.0.0.0/8"],
    )
    return compile_snapshot(config, 1, Segment(1, 16, 16), Path())


def key(snapshot: Snapshot, by: str | list[str], target: str = "/users", *fields: str, client: str = "192.0.2.1") -> tuple[bool, bytes]:
    head = "\r\n".join([f"GET {target} HTTP/1.1", "Host: example.com", *fields, "", ""]).encode("latin-1")
    lane = Lane(Segment(1, 8, 8), 0, lambda *_: None, lambda: None)
    lane.install(snapshot)
    try:
        asked = Inquiry(lane, head, client, False, 1, 1)
        asked.route(None)
        return asked.key(Selector(by))
    finally:
        del asked
        lane.close()


def same(snapshot: Snapshot, by: str | list[str], *requests: tuple[str, ...]) -> bool:
    """Whether requests (target, *fields) have all parts and one key."""
    found = {key(snapshot, by, *request) for request in requests}
    return len(found) == 1 and all(whole for whole, _ in found)


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def network(address: Address, bits: int) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    address = getattr(address, "ipv4_mapped", None) or address
    prefix = min(bits, 32) if address.version == 4 else bits if bits > 32 else 64
    return ipaddress.ip_network((address, prefix), strict=False)


@given(st.ip_addresses(), st.integers(0, 127), st.integers(1, 128))
def test_addresses_share_a_key_when_they_share_the_prefix(snapshot: Snapshot, first: Address, flipped: int, bits: int) -> None:
    second = type(first)(int(first) ^ 1 << flipped % first.max_prefixlen)
    found = [key(snapshot, f"ip/{bits}", client=str(address)) for address in (first, second)]
    assert (found[0] == found[1]) == (network(first, bits) == network(second, bits))


@pytest.mark.parametrize(
    ("by", "first", "second", "shared"),
    [
        ("ip", "192.0.2.1", "192.0.2.2", False),
        ("ip/24", "192.0.2.1", "192.0.2.2", True),
        ("ip/24", "192.0.2.1", "192.0.3.1", False),
        ("ip/31", "192.0.2.2", "192.0.2.3", True),
        ("ip", "2001:db8::1", "2001:db8::ffff:0:0:1", True),
        ("ip", "2001:db8::1", "2001:db8:0:1::1", False),
        ("ip/48", "2001:db8::1", "2001:db8:0:1::1", True),
        ("ip", "::ffff:192.0.2.1", "192.0.2.1", True),
        ("ip/32", "1.2.3.4", "102:304::", False),
    ],
)
def test_prefixes(snapshot: Snapshot, by: str, first: str, second: str, shared: bool) -> None:
    assert (key(snapshot, by, client=first) == key(snapshot, by, client=second)) == shared


def test_the_client_is_who_a_trusted_proxy_says(snapshot: Snapshot) -> None:
    direct = key(snapshot, "ip", client="192.0.2.1")
    assert key(snapshot, "ip", "/users", "X-Forwarded-For: 192.0.2.1", client="10.0.0.1") == direct
    assert key(snapshot, "ip", "/users", "X-Forwarded-For: 192.0.2.1", client="198.51.100.1") != direct


def test_a_peer_without_an_address_is_missing(snapshot: Snapshot) -> None:
    assert key(snapshot, "ip", client="unix:")[0] is False


def test_parts_of_the_route(snapshot: Snapshot) -> None:
    assert same(snapshot, "route", ("/users/1",), ("/users/2",))
    assert not same(snapshot, "route", ("/users",), ("/more",))
    assert same(snapshot, "service", ("/users",), ("/more",))
    assert key(snapshot, "service", "/said")[0] is False
    assert same(snapshot, "path", ("/users/a?x=1",), ("/users/%61?x=2",))
    assert not same(snapshot, "path", ("/users/a",), ("/users/b",))
    assert same(snapshot, "host", ("/users",), ("http://EXAMPLE.com:80/users",))
    assert not same(snapshot, "host", ("/users",), ("http://example.org/users",))


@pytest.mark.parametrize(
    ("by", "first", "second"),
    [
        ("header:X-Key", ("/users", "X-Key: a"), ("/users", "x-kEY:  a ")),
        ("cookie:id", ("/users", "Cookie: id=a"), ("/users", "Cookie: other=b;  id=a ; more=c")),
        ("cookie:id", ("/users", "Cookie: id=a=b"), ("/users", "Cookie: ID=c", "Cookie: x; id=a=b")),
        ("query:q", ("/users?q=a b".replace(" ", "%20"),), ("/users?x=1&&q=%61+b&qq=2",)),
        ("query:a b", ("/users?a+b=",), ("/users?a%20b",)),
    ],
)
def test_the_same_value_however_it_is_written(snapshot: Snapshot, by: str, first: tuple[str, ...], second: tuple[str, ...]) -> None:
    assert same(snapshot, by, first, second)


@pytest.mark.parametrize(
    ("by", "request_", "other"),
    [
        ("header:x-key", ("/users",), ("/users", "X-Key: a", "X-Key: a")),
        ("header:x-key", ("/users", "X_Key: a"), ("/users",)),
        ("cookie:id", ("/users", "Cookie: idx=a; i=d"), ("/users", "Cookie: id=a; id=a")),
        ("cookie:id", ("/users", "Cookie: id"), ("/users", "Cookie: id=a", "Cookie: id=b")),
        ("query:q", ("/users?qq=1",), ("/users?q=1&q=1",)),
        ("query:q", ("/users",), ("/users?q=" + "a" * 2049,)),
        ("consumer", ("/users",), ("/more",)),
        ("credential", ("/users",), ("/more",)),
        ("claim:sub", ("/users",), ("/more",)),
    ],
)
def test_what_is_missing_or_sent_twice_has_one_key(snapshot: Snapshot, by: str, request_: tuple[str, ...], other: tuple[str, ...]) -> None:
    found = key(snapshot, by, *request_)
    assert found == key(snapshot, by, *other)
    assert found[0] is False


def test_an_empty_value_is_not_a_missing_one(snapshot: Snapshot) -> None:
    empty, missing = key(snapshot, "header:x-key", "/users", "X-Key:"), key(snapshot, "header:x-key")
    assert empty[0] is True
    assert empty[1] != missing[1]


def test_composed_keys_do_not_run_into_each_other(snapshot: Snapshot) -> None:
    by = ["header:a", "header:b"]
    fields = [("A: x", "B: yz"), ("A: xy", "B: z"), ("A: yz", "B: x"), ("A: xyz", "B:"), ("A: xyz",), ("B: xyz",), ()]
    assert len({key(snapshot, by, "/users", *each) for each in fields}) == len(fields)
    assert [key(snapshot, by, "/users", *each)[0] for each in fields] == [True] * 4 + [False] * 3


@pytest.mark.parametrize("by", ["", "ips", "ip/", "ip/0", "ip/129", "ip/-1", "ip/\u0662", "header", "header:", "route:x", "consumer/3", ["ip", "x"]])
def test_what_a_limit_cannot_count_by(by: str | list[str]) -> None:
    with pytest.raises(ValueError, match="is nothing a limit can count by; expected ip, ip/PREFIX from 1 to 128, route, service, host, path, "):
        Selector(by)


@pytest.mark.parametrize("parts", [0, 9])
def test_how_many_parts(parts: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 8 parts of a request, not {parts}"):
        Selector(["ip"] * parts)
