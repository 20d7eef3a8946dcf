"""Addresses of a Redis: what is read of them, and that no password is told."""

from __future__ import annotations

import pytest

from gw.config.address import Address
from gw.config.redis_address import RedisAddress, parse_redis


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("redis://localhost", RedisAddress(Address("tcp", "localhost", 6379)), "redis://localhost:6379"),
        ("redis://10.0.0.1:7000/", RedisAddress(Address("tcp", "10.0.0.1", 7000)), "redis://10.0.0.1:7000"),
        ("redis://[::1]/15", RedisAddress(Address("tcp", "::1", 6379), database=15), "redis://[::1]:6379"),
        ("redis://:p%40ss@h:1", RedisAddress(Address("tcp", "h", 1), password="p@ss"), "redis://h:1"),
        ("redis://:a/b@c?d#e:f@h:1", RedisAddress(Address("tcp", "h", 1), password="a/b@c?d#e:f"), "redis://h:1"),
        ("rediss://me:secret@h.example/0", RedisAddress(Address("tcp", "h.example", 6379, tls=True), "me", "secret", 0), "rediss://h.example:6379"),
        ("unix:///run/redis.sock", RedisAddress(Address("unix", path="/run/redis.sock")), "unix:///run/redis.sock"),
        ("unix://me:secret@/run/r.sock", RedisAddress(Address("unix", path="/run/r.sock"), "me", "secret"), "unix:///run/r.sock"),
    ],
)
def test_addresses(text: str, address: RedisAddress, shown: str) -> None:
    found = parse_redis(text)
    assert tuple(found) == tuple(address)
    assert (str(found), repr(found)) == (shown, f"<RedisAddress {shown}>")


@pytest.mark.parametrize(
    "text",
    ["", "hunter2", "hunter2@h", ":hunter2@h:6379", "http://:hunter2@h", "Hunter2://h", "redis://", "redis://:hunter2", "redis://hunter2:hunter2", "redis://:hunter2@", "redis://h:0",
     "redis://h/hunter2", "redis://h/16384", "redis://h?db=hunter2", "redis://h#hunter2", "redis://hunter2 x", "unix://hunter2", "unix:///r?db=1", "unix:/run/redis.sock"],
)
def test_what_is_none_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_redis(text)
    assert "hunter2" not in str(raised.value).lower()
